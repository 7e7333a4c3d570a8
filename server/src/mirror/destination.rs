//! The side that is copied to. Whatever is written there is written with the checkpoint, in one
//! transaction that happens only if the checkpoint is the one that this mirror knows.
//!
//! So a transaction whose answer was lost is no riddle: either the checkpoint says that it happened,
//! or it did not and will not.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::{Compare, RangeRequest, RangeResponse, RequestOp, TxnRequest};
use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::pieces::put;
use super::source::call;
use super::trouble::{Result, Trouble};
use crate::ctl::args::Global;
use crate::ctl::connect::{Connection, Session};

const SIDE: &str = "the destination";

pub(super) struct Destination {
    kv: KvClient<Connection>,
    key: Bytes,
    /// The revision at which the checkpoint was written; 0: there is none.
    guard: i64,
}

impl Destination {
    /// `key` is the checkpoint's.
    pub(super) async fn connect(global: Global, key: Bytes) -> Result<Self> {
        let of = |failure| Trouble::of_connection(SIDE, &failure);
        let session = Session::new(global).map_err(of)?;
        Ok(Self { kv: session.kv().await.map_err(of)?, key, guard: 0 })
    }

    pub(super) fn checkpoint_key(&self) -> &Bytes {
        &self.key
    }

    pub(super) async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse> {
        call(SIDE, self.kv.range(request)).await
    }

    /// Reads the checkpoint; what is written from now on relies on it.
    pub(super) async fn checkpoint(&mut self) -> Result<Option<Checkpoint>> {
        let request = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        let Some(kv) = self.range(request).await?.kvs.pop() else {
            self.guard = 0;
            return Ok(None);
        };
        self.guard = kv.mod_revision;
        Checkpoint::decode(&kv.value).map(Some).ok_or_else(|| {
            let key = self.key.escape_ascii();
            Trouble::lasting(format!(
                "{SIDE}: {key} is no checkpoint that this berth knows: delete it to copy \
                 everything again, or give another --checkpoint-key"
            ))
        })
    }

    /// Carries out `operations` and moves the checkpoint, together or not at all.
    pub(super) async fn apply(
        &mut self,
        mut operations: Vec<RequestOp>,
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        operations.push(put(self.key.clone(), checkpoint.encode()));
        let txn = TxnRequest {
            compare: vec![Compare {
                key: self.key.clone(),
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                target_union: Some(TargetUnion::ModRevision(self.guard)),
                ..Compare::default()
            }],
            success: operations,
            failure: Vec::new(),
        };
        let answer = call(SIDE, self.kv.txn(txn)).await?;
        if !answer.succeeded {
            return Err(Trouble::Moved);
        }
        self.guard = answer.header.unwrap_or_default().revision;
        Ok(())
    }
}
