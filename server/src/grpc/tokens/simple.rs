//! Simple tokens: who has authenticated at any member, and until when.
//!
//! A token is made by the log ([`IssueToken`]), so every member learns it, and what ends it is in
//! the log too: the user is deleted or changes the password, or auth is turned off. Nothing of it
//! is written down beside the log. A member that starts anew does not learn those that its log had
//! (it cannot know how long ago they were used), one that takes a snapshot instead of the log forgets
//! all; their holders authenticate again, as they do in etcd.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use api::berthpb::command::Op;
use api::berthpb::{Command, IssueToken};
use parking_lot::Mutex;
use raft::Observe;
use rand::Rng;
use store::{Applied, Response};
use tokio::sync::{Notify, Semaphore};

/// Letters before the point, as etcd's.
const PREFIX_LETTERS: usize = 16;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How long a call waits for a token from a part of the log that this member has not applied. etcd
/// waits as long as the client does.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// Calls that wait so at a time. Anybody can make up a token that is far ahead, and every command
/// that is applied wakes all who wait.
const CATCHING_UP_MAX: usize = 1024;

/// The random part of a new token.
pub(super) fn prefix() -> String {
    let mut random = rand::rng();
    (0..PREFIX_LETTERS).map(|_| char::from(LETTERS[random.random_range(..LETTERS.len())])).collect()
}

pub(super) struct Simple {
    ttl: Duration,
    catch_up_max: Duration,
    catching_up: Semaphore,
    table: Mutex<Table>,
    /// Told of every command that was applied.
    applied: Notify,
}

#[derive(Default)]
struct Table {
    holders: HashMap<String, Holder>,
    /// When those that have expired are next removed.
    sweep_at: Option<Instant>,
}

struct Holder {
    user: String,
    expires_at: Instant,
}

impl Simple {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            catch_up_max: CATCH_UP_MAX,
            catching_up: Semaphore::new(CATCHING_UP_MAX),
            table: Mutex::default(),
            applied: Notify::new(),
        }
    }

    /// Whose token it is, if it still counts; using it renews it.
    pub(super) fn user(&self, token: &str, now: Instant) -> Option<String> {
        let mut table = self.table.lock();
        let holder = table.holders.get_mut(token)?;
        if holder.expires_at <= now {
            table.holders.remove(token);
            return None;
        }
        holder.expires_at = now + self.ttl;
        Some(holder.user.clone())
    }

    /// Waits until `applied` has reached the index that is part of every token, unless too many
    /// wait already.
    pub(super) async fn catch_up(&self, token: &str, applied: impl Fn() -> u64) {
        let Some(index) = token.rsplit_once('.').and_then(|(_, index)| index.parse().ok()) else {
            return;
        };
        if applied() >= index {
            return;
        }
        let Ok(_place) = self.catching_up.try_acquire() else { return };
        let reached = async {
            loop {
                let next = self.applied.notified();
                tokio::pin!(next);
                // From here on nothing is missed.
                next.as_mut().enable();
                if applied() >= index {
                    return;
                }
                next.await;
            }
        };
        // Too late is as good as never: the token is looked up all the same.
        let _ = tokio::time::timeout(self.catch_up_max, reached).await;
    }

    fn learn(&self, request: &IssueToken, token: &str, now: Instant) {
        let holder = Holder { user: request.user.clone(), expires_at: now + self.ttl };
        let mut table = self.table.lock();
        table.sweep(now, self.ttl);
        table.holders.insert(token.to_owned(), holder);
    }

    fn forget(&self, user: &str) {
        self.table.lock().holders.retain(|_, holder| holder.user != user);
    }

    fn forget_all(&self) {
        self.table.lock().holders.clear();
    }

    /// Takes from the log what concerns tokens.
    fn observe(&self, op: &Op, response: &Response, now: Instant) {
        match (op, response) {
            (Op::IssueToken(request), Response::IssueToken(answer)) => {
                self.learn(request, &answer.token, now);
            }
            (Op::UserDelete(request), _) => self.forget(&request.name),
            (Op::UserChangePassword(request), _) => self.forget(&request.name),
            (Op::AuthDisable(_), _) => self.forget_all(),
            _ => {}
        }
    }
}

impl Observe for Simple {
    fn applied(&self, command: &Command, applied: &Applied, again: bool) {
        if !again && let (Some(op), Ok(response)) = (&command.op, &applied.result) {
            self.observe(op, response, Instant::now());
        }
        self.applied.notify_waiters();
    }

    fn replaced(&self) {
        self.forget_all();
        self.applied.notify_waiters();
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use api::etcdserverpb as pb;
    use futures::FutureExt;

    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn issue(tokens: &Simple, user: &str, token: &str, now: Instant) {
        let op = Op::IssueToken(IssueToken { user: user.into(), prefix: String::new() });
        let answer = pb::AuthenticateResponse { header: None, token: token.into() };
        tokens.observe(&op, &Response::IssueToken(answer), now);
    }

    #[test]
    fn a_prefix_looks_like_etcds() {
        // Shows the format that clients may parse, and that no two are alike.
        let one = prefix();
        assert_eq!(one.len(), 16);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_ne!(one, prefix());
    }

    #[test]
    fn use_renews_and_disuse_ends_a_token() {
        // Shows that the time to live counts from the last use.
        let (tokens, start) = (Simple::new(TTL), Instant::now());
        issue(&tokens, "ann", "t.1", start);
        let later = start + TTL - Duration::from_secs(1);
        assert_eq!(tokens.user("t.1", later).as_deref(), Some("ann"));
        let much_later = later + TTL - Duration::from_secs(1);
        assert_eq!(tokens.user("t.1", much_later).as_deref(), Some("ann"));
        assert_eq!(tokens.user("t.1", much_later + TTL), None);
        assert_eq!(tokens.user("t.1", start), None);
    }

    #[test]
    fn the_log_ends_tokens() {
        // Shows that deletion and a new password end that user's tokens alone, that turning auth
        // off or a snapshot ends all, and that a refused command ends none.
        let (tokens, now) = (Simple::new(TTL), Instant::now());
        let name = || "ann".to_owned();
        let deleted = Op::UserDelete(pb::AuthUserDeleteRequest { name: name() });
        let changed = Op::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name: name(),
            ..Default::default()
        });
        issue(&tokens, "bob", "b.1", now);
        for op in [deleted.clone(), changed] {
            issue(&tokens, "ann", "a.1", now);
            tokens.observe(&op, &Response::UserDelete(Default::default()), now);
            assert_eq!(tokens.user("a.1", now), None);
            assert_eq!(tokens.user("b.1", now).as_deref(), Some("bob"));
        }
        issue(&tokens, "ann", "a.2", now);
        let refused = Applied {
            revision: 1,
            result: Err(store::Error::UserNotFound),
            events: Default::default(),
        };
        tokens.applied(&Command { op: Some(deleted), ..Command::default() }, &refused, false);
        assert!(tokens.user("a.2", now).is_some());
        let disabled = Op::AuthDisable(pb::AuthDisableRequest {});
        tokens.observe(&disabled, &Response::AuthDisable(Default::default()), now);
        assert!(tokens.user("a.2", now).is_none() && tokens.user("b.1", now).is_none());
        issue(&tokens, "ann", "a.3", now);
        tokens.replaced();
        assert_eq!(tokens.user("a.3", now), None);
    }

    #[test]
    fn a_start_does_not_bring_tokens_back() {
        // Shows that a token which the log had before the start, and which may long have expired,
        // does not count again.
        let tokens = Simple::new(TTL);
        let op = Op::IssueToken(IssueToken { user: "ann".into(), prefix: String::new() });
        let command = Command { op: Some(op), ..Command::default() };
        let answer = pb::AuthenticateResponse { header: None, token: "a.1".into() };
        let issued = Applied {
            revision: 1,
            result: Ok(Response::IssueToken(answer)),
            events: Default::default(),
        };
        tokens.applied(&command, &issued, true);
        assert_eq!(tokens.user("a.1", Instant::now()), None);
        tokens.applied(&command, &issued, false);
        assert_eq!(tokens.user("a.1", Instant::now()).as_deref(), Some("ann"));
    }

    #[test]
    fn expired_tokens_do_not_pile_up() {
        // Shows that tokens nobody uses any more are removed.
        let (tokens, start) = (Simple::new(TTL), Instant::now());
        for n in 0..10 {
            issue(&tokens, "ann", &format!("t.{n}"), start);
        }
        issue(&tokens, "bob", "b.1", start + 2 * TTL);
        assert_eq!(tokens.table.lock().holders.len(), 1);
    }

    #[tokio::test]
    async fn those_who_make_up_tokens_do_not_pile_up() {
        // Shows that no more calls wait than there are places, and that a place is free again.
        let mut tokens = Simple::new(TTL);
        tokens.catch_up_max = Duration::MAX;
        tokens.catching_up = Semaphore::new(1);
        let mut waiting = Box::pin(tokens.catch_up("t.8", || 7));
        assert!(waiting.as_mut().now_or_never().is_none());
        tokens.catch_up("t.9", || 7).await;
        drop(waiting);
        assert_eq!(tokens.catching_up.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_token_of_another_member_is_waited_for() {
        // Shows that a call waits until the log is applied as far as its token, not when it is
        // already, not for what is no token, and not for ever.
        let mut tokens = Simple::new(TTL);
        tokens.catch_up_max = Duration::MAX;
        let index = AtomicU64::new(7);
        let applied = || index.load(Ordering::SeqCst);
        for at_once in ["t.7", "nonsense", "non.sense"] {
            tokens.catch_up(at_once, applied).await;
        }
        let waiting = async {
            tokens.catch_up("t.8", applied).await;
            assert_eq!(index.load(Ordering::SeqCst), 8);
        };
        let learning = async {
            tokens.applied.notify_waiters();
            tokio::task::yield_now().await;
            index.store(8, Ordering::SeqCst);
            tokens.applied.notify_waiters();
        };
        tokio::join!(waiting, learning);
        tokens.catch_up_max = Duration::from_millis(1);
        tokens.catch_up("t.9", || 8).await;
    }
}
