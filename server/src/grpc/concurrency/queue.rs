//! A place in a queue: a key of the caller's under a prefix, and the wait for those before it.

use std::future::Future;
use std::time::Duration;

use api::etcdserverpb::{ResponseHeader, TxnRequest};
use api::mvccpb::KeyValue;
use api::mvccpb::event::EventType;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::client::{Changes, Client, created_at, first_read, first_under, put, read};
use crate::grpc::errors::Error;

/// How often a key is taken back whose owner has gone, with pauses that double: an election may be
/// going on, or the server have too much to do.
const LEAVE_ATTEMPTS: u32 = 10;
const LEAVE_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Place {
    pub(super) key: Bytes,
    pub(super) lease: i64,
    /// The create revision of the key: it orders the queue.
    pub(super) revision: i64,
    /// The answer that put the place there.
    pub(super) header: Option<ResponseHeader>,
    /// What the key held, if it was there before.
    pub(super) found: Option<KeyValue>,
    /// Nobody was before it then.
    first: bool,
    prefix: Bytes,
    /// The lease was granted for this place alone.
    own_lease: bool,
}

impl Place {
    /// Puts a key with `value` under `name` for `lease`, or finds the one that is there: a lease has
    /// one place in a queue.
    pub(super) async fn take(
        client: &Client,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<Self, Status> {
        let own_lease = lease == 0;
        let lease = client.session(lease).await?;
        let prefix = prefix(name);
        let key = Bytes::from([&prefix, hexadecimal(lease).as_bytes()].concat());
        let oldest = read(first_under(&prefix));
        let done = client
            .txn(TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put(&key, value, lease), oldest.clone()],
                failure: vec![read(range_of(&key)), oldest],
            })
            .await;
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // It may have been done all the same; the caller will ask with another lease, and
                // would wait for this one.
                if own_lease {
                    Undo::Lease(lease).persistently(client).await;
                }
                return Err(error);
            }
        };
        let found = first_read(&done, 0).filter(|_| !done.succeeded).cloned();
        let put_at = done.header.as_ref().map_or(0, |header| header.revision);
        let revision = found.as_ref().map_or(put_at, |kv| kv.create_revision);
        let first = first_read(&done, 1).is_none_or(|kv| kv.create_revision == revision);
        Ok(Self { key, lease, revision, header: done.header, found, first, prefix, own_lease })
    }

    /// Waits until all that came before it are gone, and makes sure that it has not gone itself.
    /// The header is from then.
    ///
    /// # Errors
    /// `lost` if its own key is not there any more.
    pub(super) async fn first(
        &self,
        client: &Client,
        lost: Error,
    ) -> Result<Option<ResponseHeader>, Status> {
        if self.first {
            return Ok(self.header);
        }
        loop {
            let before = client.last_under(&self.prefix, self.revision - 1).await?;
            let Some(last) = before.kvs.into_iter().next() else { break };
            let since = before.header.map_or(0, |header| header.revision);
            let changes = client.watch(last.key, Bytes::new(), since + 1)?;
            deleted(changes).await?;
        }
        let own = client.get(self.key.clone()).await?;
        match own.kvs.first() {
            Some(kv) if kv.create_revision == self.revision => Ok(own.header),
            _ => Err(lost.into()),
        }
    }

    /// Takes the key back, unless it is another one by then; or stands first for an earlier call of
    /// the same lease, which holds what it waited for.
    pub(super) async fn leave(&self, client: &Client) {
        if self.first && self.found.is_some() {
            return;
        }
        let undo = if self.own_lease {
            Undo::Lease(self.lease)
        } else {
            Undo::Key(self.key.clone(), self.revision)
        };
        undo.persistently(client).await;
    }
}

/// What takes a place back.
enum Undo {
    /// Its key, if it was created at that revision.
    Key(Bytes, i64),
    /// Its lease, which nobody else knows of, and the key with it.
    Lease(i64),
}

impl Undo {
    /// Until it is done. What is not done in the end, the end of the lease does.
    async fn persistently(&self, client: &Client) {
        let mut pause = LEAVE_PAUSE;
        for _ in 0..LEAVE_ATTEMPTS {
            match self.once(client).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "a place in a queue was not taken back yet"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn once(&self, client: &Client) -> Result<(), Status> {
        match self {
            Self::Key(key, revision) => client.remove_own(key, *revision).await,
            Self::Lease(id) => match client.revoke(*id).await {
                Err(error) if error.code() == Code::NotFound => Ok(()),
                revoked => revoked,
            },
        }
    }
}

/// Waits for a key to be deleted; or to be looked for again, when its history is gone.
async fn deleted(mut changes: Changes) -> Result<(), Status> {
    while let Some(events) = changes.next().await? {
        if events.iter().any(|event| event.r#type() == EventType::Delete) {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs `work` to its end, whether or not the caller waits for it: one that has gone must not leave
/// a half-made place behind. `work` is told when the caller goes.
pub(super) async fn attended<T, F>(work: impl FnOnce(CancellationToken) -> F) -> Result<T, Status>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let gone = CancellationToken::new();
    let caller = gone.clone().drop_guard();
    let done = tokio::spawn(work(gone)).await.map_err(Error::from)?;
    caller.disarm();
    done
}

/// Everything under a name.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    Bytes::from([name, b"/"].concat())
}

fn range_of(key: &Bytes) -> api::etcdserverpb::RangeRequest {
    api::etcdserverpb::RangeRequest { key: key.clone(), ..Default::default() }
}

/// As Go prints it, with the sign of a number that no lease has.
fn hexadecimal(lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_gos() {
        // Shows the hexadecimal digits of a lease, and those of what is none, as Go prints them.
        assert_eq!(hexadecimal(0x4ee7_a1fd_cfda_2608), "4ee7a1fdcfda2608");
        assert_eq!(hexadecimal(-1), "-1");
        assert_eq!(hexadecimal(i64::MIN), "-8000000000000000");
        assert_eq!(prefix(b"name"), "name/");
    }
}
