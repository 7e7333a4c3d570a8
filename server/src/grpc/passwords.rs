//! Passwords and their hashes.
//!
//! Hashing is slow on purpose, so it runs beside the async workers, on no more cores than there
//! are: a crowd that authenticates must not starve everyone else.

use super::errors::Error;
use super::turns::Turns;

/// What bcrypt looks at; etcd's refuses more.
const PASSWORD_BYTES_MAX: usize = 72;

pub(super) struct Passwords {
    cost: u32,
    cores: Turns,
}

impl Passwords {
    pub(super) fn new(cost: u32) -> Self {
        Self { cost, cores: Turns::per_core(1) }
    }

    /// # Errors
    /// [`Error::PasswordTooLong`].
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::PasswordTooLong);
        }
        let cost = self.cost;
        self.cores
            .run(move || bcrypt::hash(password, cost).map_err(|e| Error::Internal(e.to_string())))
            .await?
    }

    /// Whether `password` is the one that `hash` was made of; never for a hash that is none.
    pub(super) async fn matches(&self, password: String, hash: String) -> Result<bool, Error> {
        self.cores.run(move || bcrypt::verify(password, &hash).unwrap_or(false)).await
    }
}

#[cfg(test)]
mod tests {
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
    async fn what_bcrypt_would_cut_off_is_refused() {
        // Shows that two passwords which differ after 72 bytes are not taken for one.
        let passwords = Passwords::new(CHEAP);
        assert!(passwords.hash("p".repeat(72)).await.is_ok());
        assert_eq!(passwords.hash("p".repeat(73)).await, Err(Error::PasswordTooLong));
    }
}
