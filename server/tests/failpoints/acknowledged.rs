//! What was acknowledged, and that it is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use api::etcdserverpb::{PutRequest, RangeRequest};
use testkit::{Clients, bounded, eventually};
use tonic::Status;

/// A member that has just started may have to catch up first.
const CAUGHT_UP_S_MAX: u64 = 60;

/// Every key is written once: a value is there, or it is not.
#[derive(Default)]
pub(crate) struct Acknowledged {
    writes: BTreeMap<String, String>,
}

impl Acknowledged {
    /// Writes a key that was never written before.
    pub(crate) async fn put(&mut self, clients: &mut Clients) -> Result<(), Status> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (key, value) = (format!("key/{number:08}"), format!("value {number}"));
        let request = PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            ..Default::default()
        };
        bounded(clients.kv.put(request)).await?;
        self.writes.insert(key, value);
        Ok(())
    }

    /// All of it is at the member of these clients; if `serializable`, as soon as it has caught up.
    pub(crate) async fn check(&self, clients: &Clients, serializable: bool) {
        let found = async || {
            let request = RangeRequest {
                key: "key/".into(),
                range_end: "key0".into(),
                serializable,
                ..Default::default()
            };
            let answer = bounded(clients.clone().kv.range(request)).await;
            let kvs = answer.map_err(|refusal| refusal.to_string())?.into_inner().kvs;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let found: BTreeMap<_, _> =
                kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect();
            let missing = self.writes.iter().find(|(key, value)| found.get(*key) != Some(*value));
            missing.map_or(Ok(()), |(key, _)| Err(format!("{key} was acknowledged and is gone")))
        };
        assert!(!self.writes.is_empty(), "nothing was acknowledged that could be missed");
        if serializable {
            eventually("the member has all", CAUGHT_UP_S_MAX, found).await;
        } else if let Err(missing) = found().await {
            panic!("{missing}");
        }
    }
}
