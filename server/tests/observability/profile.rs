//! The CPU profile, as `go tool pprof` reads it.

use api::etcdserverpb::PutRequest;
use prost::Message;
use testkit::{Kind, Server, eventually, subject};
use tokio::task::JoinSet;

use crate::page;

/// Who keep the server busy.
const CLIENTS: usize = 8;

/// What is looked at of google/pprof's `profile.proto`.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

impl Profile {
    fn text(&self, place: i64) -> &str {
        &self.string_table[usize::try_from(place).unwrap()]
    }

    /// The functions of a sample, the innermost first.
    fn stack(&self, sample: &Sample) -> Vec<&str> {
        let location = |id: &u64| self.location.iter().find(|it| it.id == *id).expect("a location");
        let lines = sample.location_id.iter().flat_map(|id| &location(id).line);
        let function = |line: &Line| self.function.iter().find(|it| it.id == line.function_id);
        lines.map(|line| self.text(function(line).expect("a function").name)).collect()
    }
}

/// Asks for a profile until the answer has a status.
async fn profile(port: u16, seconds: u32, status: &str) -> (String, Vec<u8>) {
    eventually(status, 60, async || {
        let target = format!("/debug/pprof/profile?seconds={seconds}");
        match page::get(port, &target).await {
            (head, body) if head.contains(status) => Ok((head, body)),
            (head, _) => Err(head),
        }
    })
    .await
}

/// Proves that a profile of a server under load is one: samples of CPU time with stacks whose
/// functions have names, among them the server's own; that a second one meanwhile is refused in Go's
/// words, and that there is none unless it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_profile_shows_where_the_time_goes() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // Its functions are Go's, and the file is compressed.
        return;
    }
    let off = Server::start(program.clone(), &[]).await;
    assert!(page::get(off.client_port, "/debug/pprof/profile?seconds=1").await.0.contains(" 404 "));
    let server = Server::start(program, &["--enable-pprof"]).await;
    let port = server.client_port;
    let mut load = JoinSet::new();
    for _ in 0..CLIENTS {
        load.spawn(async move {
            let mut kv = testkit::connect(&format!("http://127.0.0.1:{port}")).kv;
            loop {
                let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
                kv.put(put).await.unwrap();
            }
        });
    }
    // Whichever of the two is there first is made; the other one asks again.
    let ((head, body), (_, refusal)) =
        tokio::join!(profile(port, 3, " 200 "), profile(port, 1, " 500 "));
    let refused = String::from_utf8(refusal).unwrap();
    assert_eq!(refused, "Could not enable CPU profiling: cpu profiling already in use\n");
    load.abort_all();
    assert!(head.contains("application/octet-stream"), "{head}");

    let profile = Profile::decode(&body[..]).unwrap();
    assert_eq!(profile.text(0), "");
    let kinds: Vec<_> = profile
        .sample_type
        .iter()
        .map(|kind| (profile.text(kind.kind), profile.text(kind.unit)))
        .collect();
    assert_eq!(kinds, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert!(profile.duration_nanos >= 3_000_000_000 && profile.period > 0);
    let count: i64 = profile.sample.iter().map(|sample| sample.value[0]).sum();
    assert!(count >= 5, "{count} samples of a busy server");
    for sample in &profile.sample {
        assert_eq!(sample.value[1], sample.value[0] * profile.period);
    }
    let is_ours =
        |name: &&str| ["tokio", "berth", "store", "hyper"].iter().any(|it| name.contains(it));
    let stacks: Vec<Vec<&str>> = profile.sample.iter().map(|it| profile.stack(it)).collect();
    let deep = stacks.iter().filter(|stack| stack.len() > 5 && stack.iter().any(is_ours)).count();
    assert!(deep * 2 > stacks.len(), "{deep} of {} stacks are whole", stacks.len());
    // It goes on, and so may the next profile.
    let (head, _) = page::get(port, "/debug/pprof/profile?seconds=1").await;
    assert!(head.contains(" 200 "), "{head}");
    assert!(page::get(port, "/debug/pprof/").await.0.contains(" 200 "));
    assert!(page::get(port, "/debug/pprof/profile?seconds=601").await.0.contains(" 400 "));
}
