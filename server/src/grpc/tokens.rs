//! Simple tokens: who has authenticated at this member, and until when.
//!
//! They live in memory only and never longer than the password they were given for: a token
//! remembers the hash that the password was checked against, and is worth nothing once the user's
//! hash is another one. So nobody has to be told when a user is deleted or changes the password.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::Rng;

/// Letters before the point, as etcd's.
const PREFIX_LETTERS: usize = 16;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(super) struct Tokens {
    ttl: Duration,
    table: Mutex<Table>,
    /// False: the table is empty, and needs no lock to be cleared.
    any: AtomicBool,
}

#[derive(Default)]
struct Table {
    holders: HashMap<String, Holder>,
    /// When those that have expired are next removed.
    sweep_at: Option<Instant>,
}

struct Holder {
    user: String,
    password_hash: String,
    expires_at: Instant,
}

impl Tokens {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, table: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// A new token for `user`, whose password was just found to match `password_hash`. `index` is
    /// how far the log was applied then.
    pub(super) fn issue(
        &self,
        user: &str,
        password_hash: &str,
        index: u64,
        now: Instant,
    ) -> String {
        let mut random = rand::rng();
        let letter = |_| char::from(LETTERS[random.random_range(..LETTERS.len())]);
        let prefix: String = (0..PREFIX_LETTERS).map(letter).collect();
        let token = format!("{prefix}.{index}");
        let holder = Holder {
            user: user.to_owned(),
            password_hash: password_hash.to_owned(),
            expires_at: now + self.ttl,
        };
        let mut table = self.table.lock();
        table.sweep(now, self.ttl);
        self.any.store(true, Ordering::Relaxed);
        table.holders.insert(token.clone(), holder);
        token
    }

    /// Whose token it is, if it still counts; using it renews it. `hash_now` is the user's present
    /// password hash.
    pub(super) fn user(
        &self,
        token: &str,
        now: Instant,
        hash_now: impl FnOnce(&str) -> Option<String>,
    ) -> Option<String> {
        let mut table = self.table.lock();
        let holder = table.holders.get_mut(token)?;
        let fresh = now < holder.expires_at;
        if !fresh || hash_now(&holder.user).as_ref() != Some(&holder.password_hash) {
            table.holders.remove(token);
            return None;
        }
        holder.expires_at = now + self.ttl;
        Some(holder.user.clone())
    }

    /// Ends them all. Costs nothing if there are none: every call asks for it while auth is off.
    pub(super) fn clear(&self) {
        if self.any.load(Ordering::Relaxed) {
            let mut table = self.table.lock();
            table.holders.clear();
            self.any.store(false, Ordering::Relaxed);
        }
    }
}

impl Table {
    /// Removes what has expired, at most once in a time to live: each token is looked at once or
    /// twice in its life.
    fn sweep(&mut self, now: Instant, ttl: Duration) {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.holders.retain(|_, holder| now < holder.expires_at);
            self.sweep_at = Some(now + ttl);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn same(_: &str) -> Option<String> {
        Some("hash".to_owned())
    }

    #[test]
    fn a_token_looks_like_etcds() {
        // Shows the format that clients may parse: 16 letters, a point, an index; never twice.
        let tokens = Tokens::new(TTL);
        let token = tokens.issue("ann", "hash", 42, Instant::now());
        let (prefix, index) = token.split_once('.').unwrap();
        assert_eq!((prefix.len(), index), (16, "42"));
        assert!(prefix.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_ne!(tokens.issue("ann", "hash", 42, Instant::now()), token);
    }

    #[test]
    fn use_renews_and_disuse_ends_a_token() {
        // Shows that the time to live counts from the last use.
        let (tokens, start) = (Tokens::new(TTL), Instant::now());
        let token = tokens.issue("ann", "hash", 1, start);
        let later = start + TTL - Duration::from_secs(1);
        assert_eq!(tokens.user(&token, later, same).as_deref(), Some("ann"));
        let much_later = later + TTL - Duration::from_secs(1);
        assert_eq!(tokens.user(&token, much_later, same).as_deref(), Some("ann"));
        assert_eq!(tokens.user(&token, much_later + TTL, same), None);
        assert_eq!(tokens.user(&token, start, same), None);
    }

    #[test]
    fn a_changed_password_or_a_deleted_user_ends_a_token() {
        // Shows that a token is bound to the hash it was given for, even if the user comes back.
        let (tokens, now) = (Tokens::new(TTL), Instant::now());
        let changed = tokens.issue("ann", "hash", 1, now);
        assert_eq!(tokens.user(&changed, now, |_| Some("other".to_owned())), None);
        let deleted = tokens.issue("ann", "hash", 1, now);
        assert_eq!(tokens.user(&deleted, now, |_| None), None);
        assert_eq!(tokens.user(&deleted, now, same), None);
    }

    #[test]
    fn expired_tokens_do_not_pile_up() {
        // Shows that tokens nobody uses any more are removed, and that clearing removes the rest.
        let (tokens, start) = (Tokens::new(TTL), Instant::now());
        for _ in 0..10 {
            tokens.issue("ann", "hash", 1, start);
        }
        let token = tokens.issue("bob", "hash", 1, start + 2 * TTL);
        assert_eq!(tokens.table.lock().holders.len(), 1);
        tokens.clear();
        assert_eq!(tokens.user(&token, start + 2 * TTL, same), None);
    }
}
