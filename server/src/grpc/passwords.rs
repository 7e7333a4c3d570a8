//! Passwords and their hashes.
//!
//! Hashing is slow on purpose, so it runs beside the async workers, on no more cores than there
//! are: a crowd that authenticates must not starve everyone else.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::errors::Error;

/// What bcrypt looks at; etcd's refuses more.
const PASSWORD_BYTES_MAX: usize = 72;

pub(super) struct Passwords {
    cost: u32,
    cores: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(cost: u32) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { cost, cores: Arc::new(Semaphore::new(cores)) }
    }

    /// # Errors
    /// [`Error::PasswordTooLong`].
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::PasswordTooLong);
        }
        let cost = self.cost;
        self.run(move || bcrypt::hash(password, cost).map_err(|e| Error::Internal(e.to_string())))
            .await?
    }

    /// Whether `password` is the one that `hash` was made of; never for a hash that is none.
    pub(super) async fn matches(&self, password: String, hash: String) -> Result<bool, Error> {
        self.run(move || bcrypt::verify(password, &hash).unwrap_or(false)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.cores).acquire_owned().await;
        // The core goes with the work, which nobody can stop: a client that asks and leaves at once
        // would otherwise begin more of it than there are cores.
        let occupied = move || {
            let _core = core;
            work()
        };
        Ok(spawn_blocking(occupied).await?)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// The least that bcrypt takes.
    const CHEAP: u32 = 4;

    #[tokio::test]
    async fn a_password_matches_its_hash_only() {
        // Shows hashing and checking.
        let passwords = Passwords::new(CHEAP);
        let hash = passwords.hash("secret".to_owned()).await.unwrap();
        assert!(passwords.matches("secret".to_owned(), hash.clone()).await.unwrap());
        assert!(!passwords.matches("Secret".to_owned(), hash).await.unwrap());
        assert!(!passwords.matches(String::new(), String::new()).await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_leaves_frees_no_core_before_its_work_is_done() {
        // Shows that work goes on counting when nobody waits for it any more, and no longer.
        let passwords = Passwords::new(CHEAP);
        let all = passwords.cores.available_permits();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let mut asked = Box::pin(passwords.run(move || finished.recv()));
        assert!(asked.as_mut().now_or_never().is_none());
        drop(asked);
        tokio::task::yield_now().await;
        assert_eq!(passwords.cores.available_permits(), all - 1);
        finish.send(()).unwrap();
        let every = u32::try_from(all).unwrap();
        drop(passwords.cores.acquire_many(every).await.unwrap());
    }

    #[tokio::test]
    async fn what_bcrypt_would_cut_off_is_refused() {
        // Shows that two passwords which differ after 72 bytes are not taken for one.
        let passwords = Passwords::new(CHEAP);
        assert!(passwords.hash("p".repeat(72)).await.is_ok());
        assert_eq!(passwords.hash("p".repeat(73)).await, Err(Error::PasswordTooLong));
    }
}
