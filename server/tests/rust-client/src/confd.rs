//! What confd's `etcdv3` backend asks, call by call.
//!
//! confd is no package; docs/discovery.md says how to run the real one.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{
    Client, CompactionOptions, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
    WatchOptions, WatchStream,
};
use testkit::Server;

use crate::subject;

/// What confd puts into one transaction, and etcd takes.
const RANGES_MAX: usize = 128;
const KEYS: usize = 300;

async fn client(server: &Server) -> Client {
    Client::connect([server.endpoint()], None).await.expect("the server serves")
}

/// Reads all `prefixes` as they were at one revision, which the first transaction decides.
async fn get_values(client: &mut Client, prefixes: &[String]) -> (BTreeMap<String, String>, i64) {
    let mut revision = 0;
    let mut values = BTreeMap::new();
    for prefixes in prefixes.chunks(RANGES_MAX) {
        let options = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Key, SortOrder::Descend)
            .with_revision(revision);
        let get = |prefix: &String| TxnOp::get(prefix.as_str(), Some(options.clone()));
        let txn = Txn::new().and_then(prefixes.iter().map(get).collect::<Vec<_>>());
        let answer = client.txn(txn).await.expect("so many ranges are allowed");
        assert!(answer.succeeded());
        for (prefix, answer) in prefixes.iter().zip(answer.op_responses()) {
            let TxnOpResponse::Get(answer) = answer else { panic!("not a range: {answer:?}") };
            let keys: Vec<&[u8]> = answer.kvs().iter().map(|kv| kv.key()).collect();
            assert!(keys.is_sorted_by(|one, next| one > next), "descending below {prefix}");
            for kv in answer.kvs() {
                let (key, value) = (kv.key_str().unwrap(), kv.value_str().unwrap());
                values.insert(key.to_owned(), value.to_owned());
            }
        }
        if revision == 0 {
            revision = answer.header().expect("a header").revision();
        }
    }
    (values, revision)
}

async fn watch_from(client: &mut Client, prefix: &str, revision: Option<i64>) -> WatchStream {
    let options = WatchOptions::new().with_prefix();
    let options = match revision {
        Some(revision) => options.with_start_revision(revision),
        None => options,
    };
    let mut stream = client.watch(prefix, Some(options)).await.expect("a watch");
    let created = next(&mut stream).await;
    assert!(created.created() && created.events().is_empty(), "{created:?}");
    stream
}

async fn next(stream: &mut WatchStream) -> etcd_client::WatchResponse {
    let answer = tokio::time::timeout(Duration::from_secs(60), stream.message()).await;
    answer.expect("an answer in a minute").expect("no error").expect("no end")
}

/// Proves that 300 prefixes are read by three transactions at one revision, whatever is written in
/// between, that a watch created without a revision tells the one it starts from, and that one
/// from the next revision misses nothing and repeats nothing, nor after a compaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confds_calls_are_answered() {
    let server = Server::start(subject(), &[]).await;
    let mut client = client(&server).await;
    let prefixes: Vec<String> = (0..KEYS).map(|at| format!("/app/{at:03}")).collect();
    for prefix in &prefixes {
        client.put(format!("{prefix}/a"), "1", None).await.expect("a put");
        client.put(format!("{prefix}/b"), "2", None).await.expect("a put");
    }
    let (first, _) = get_values(&mut client, &prefixes[..RANGES_MAX]).await;
    assert_eq!(first.len(), 2 * RANGES_MAX);

    let mut writer = client.clone();
    let writing = tokio::spawn(async move {
        for at in 0..KEYS {
            writer.put(format!("/app/{at:03}/a"), "3", None).await.expect("a put");
        }
    });
    let (values, revision) = get_values(&mut client, &prefixes).await;
    writing.await.expect("the writer ends well");
    assert_eq!(values.len(), 2 * KEYS);
    for (key, value) in &values {
        let options = GetOptions::new().with_revision(revision);
        let then = client.get(key.as_str(), Some(options)).await.expect("a range");
        assert_eq!(then.kvs()[0].value_str().unwrap(), value, "{key} at {revision}");
    }

    // confd sets its position by the answer that says `created`.
    let mut latest = client.watch("/app", Some(WatchOptions::new().with_prefix())).await.unwrap();
    let position = next(&mut latest).await.header().expect("a header").revision();
    drop(latest);
    let last = client.put("/app/000/a", "4", None).await.expect("a put");
    let last = last.header().expect("a header").revision();
    assert!(position < last);
    let mut resumed = watch_from(&mut client, "/app", Some(position + 1)).await;
    let events = next(&mut resumed).await;
    let revisions = events.events().iter().map(|event| event.kv().unwrap().mod_revision());
    assert_eq!(revisions.collect::<Vec<_>>(), [last]);

    let compacted = Some(CompactionOptions::new().with_physical());
    client.compact(last, compacted).await.expect("a compaction");
    let options = WatchOptions::new().with_prefix().with_start_revision(position);
    let mut late = client.watch("/app", Some(options)).await.expect("a watch");
    let refused = loop {
        let answer = next(&mut late).await;
        if answer.compact_revision() > 0 {
            break answer;
        }
    };
    assert_eq!(refused.compact_revision(), last, "confd goes on from there");
    let (values, _) = get_values(&mut client, &prefixes).await;
    assert_eq!(values["/app/000/a"], "4");
}
