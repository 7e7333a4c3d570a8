//! A store for tests that fails.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use super::*;

/// A store that takes its time to say that it cannot be reached, or what else is wrong.
pub(crate) struct Fake {
    takes: Duration,
    kind: watch::Receiver<Kind>,
}

impl Fake {
    pub(crate) fn refusing(takes: Duration) -> Store {
        let (_, kind) = watch::channel(Kind::Unreachable);
        Arc::new(Self { takes, kind })
    }

    /// Fails at once, in a way that may change.
    pub(crate) fn failing(kind: Kind) -> (Store, watch::Sender<Kind>) {
        let (change, kind) = watch::channel(kind);
        (Arc::new(Self { takes: Duration::ZERO, kind }), change)
    }

    fn fail<T: Send>(&self) -> Answer<'_, T> {
        let failing = async {
            tokio::time::sleep(self.takes).await;
            Err(Error::new(*self.kind.borrow(), "nobody is there"))
        };
        failing.boxed()
    }
}

impl Kv for Fake {
    fn range(&self, _: RangeRequest) -> Answer<'_, RangeResponse> {
        self.fail()
    }

    fn put(&self, _: PutRequest) -> Answer<'_, PutResponse> {
        self.fail()
    }

    fn delete_range(&self, _: DeleteRangeRequest) -> Answer<'_, DeleteRangeResponse> {
        self.fail()
    }

    fn txn(&self, _: TxnRequest) -> Answer<'_, TxnResponse> {
        self.fail()
    }

    fn lease_grant(&self, _: LeaseGrantRequest) -> Answer<'_, LeaseGrantResponse> {
        self.fail()
    }

    fn lease_keep_alive(&self, _: i64) -> Answer<'_, i64> {
        self.fail()
    }

    fn lease_revoke(&self, _: i64) -> Answer<'_, ()> {
        self.fail()
    }

    fn lease_time_to_live(&self, _: LeaseTimeToLiveRequest) -> Answer<'_, LeaseTimeToLiveResponse> {
        self.fail()
    }

    fn watch(&self, _: WatchCreateRequest) -> Answer<'_, Watch> {
        self.fail()
    }
}
