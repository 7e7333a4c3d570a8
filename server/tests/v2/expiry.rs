//! Times to live: what ends, what is told, what is given a longer time.

use std::time::Duration;

use testkit::{Program, bounded, eventually, subject};

use crate::canonical::difference;
use crate::http::{Ask, whole};
use crate::side::{Side, align};
use crate::waiting::{get, put};

/// When the directory has ended, the rest of the time that the others were given at first, and what
/// the servers take to look.
const PAST: Duration = Duration::from_millis(3_200);

/// Proves that keys and directories end as in etcd: with everything in a directory, under an index
/// of their own, told to those who wait; and that a refresh gives more time without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_ends_keys_as_in_etcd() {
    let mut etcd = Side::start(Program::etcd(), 1).await;
    let mut berth = Side::start(subject!(), 1).await;
    align(&mut etcd, &mut berth).await;
    let asks = [
        put("/refreshed", "value=2&ttl=10"),
        put("/refreshed", "ttl=3600&refresh=true&prevExist=true"),
        put("/permanent", "value=3&ttl=10"),
        put("/permanent", "value=4"),
        put("/far", "value=5&ttl=10000000000"),
        put("/dir", "dir=true&ttl=8"),
        put("/dir/a/b", "value=1"),
    ];
    let mut index = 0;
    for ask in &asks {
        let (expected, actual) = (etcd.ask(0, ask).await, berth.ask(0, ask).await);
        assert_eq!(difference(ask, &expected, &actual), None, "{ask:?}");
        index = expected.number("x-etcd-index");
    }
    let wait = get(&format!("/dir/a/b?wait=true&waitIndex={}", index + 1));
    let (expected, actual) = (etcd.begin(0, &wait).await, berth.begin(0, &wait).await);
    let (expected, actual) = bounded(async { tokio::join!(whole(expected), whole(actual)) }).await;
    assert_eq!(expected.json()["action"], "expire");
    assert_eq!(difference(&wait, &expected, &actual), None);
    tokio::time::sleep(PAST).await;
    let gone = Ask::new("GET", "/v2/keys/dir");
    for ask in [gone, get("/?recursive=true&sorted=true"), put("/now", "value=6&ttl=0")] {
        let (expected, actual) = (etcd.ask(0, &ask).await, berth.ask(0, &ask).await);
        assert_eq!(difference(&ask, &expected, &actual), None, "{ask:?}");
    }
    let now = get("/now");
    eventually("no time at all has passed", 60, async || {
        let (expected, actual) = (etcd.ask(0, &now).await, berth.ask(0, &now).await);
        if [expected.status, actual.status] != [http::StatusCode::NOT_FOUND; 2] {
            return Err(format!("{expected:?} {actual:?}"));
        }
        difference(&now, &expected, &actual).map_or(Ok(()), Err)
    })
    .await;
}
