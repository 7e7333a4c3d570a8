//! A store for tests that cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::*;

/// A store that takes its time to say that it cannot be reached.
pub(crate) struct Fake {
    takes: Duration,
}

impl Fake {
    pub(crate) fn refusing(takes: Duration) -> Store {
        Arc::new(Self { takes })
    }

    fn fail<T: Send>(&self) -> Answer<'_, T> {
        let failing = async {
            tokio::time::sleep(self.takes).await;
            Err(Error::unreachable("nobody is there"))
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
