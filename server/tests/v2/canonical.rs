//! What of an answer has to be equal on both sides.

use serde_json::Value;

use crate::http::{Answer, Ask};

/// Headers that clients look at.
const HEADERS: [&str; 6] = [
    "x-etcd-index",
    "content-type",
    "allow",
    "location",
    "connection",
    "access-control-allow-origin",
];

/// Headers whose values are each side's own; that they are there has to be equal.
const PRESENT: [&str; 3] = ["x-etcd-cluster-id", "x-raft-index", "x-raft-term"];

/// Seconds that two clocks may be apart.
const TTL_S_SLACK: i64 = 1;

/// Of the nodes in a listing.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Order {
    Same,
    /// Without `sorted`, etcd's is random.
    Any,
}

impl Order {
    pub(crate) fn asked_by(ask: &Ask) -> Self {
        let (_, query) = ask.target.split_once('?').unwrap_or_default();
        let is_sorted = query.split('&').any(|field| field == "sorted=true");
        if ask.method == "GET" && is_sorted { Self::Same } else { Self::Any }
    }
}

/// How two answers to `ask` differ, if they do.
pub(crate) fn difference(ask: &Ask, expected: &Answer, actual: &Answer) -> Option<String> {
    let headers = |answer: &Answer| {
        let value = |name| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let values = HEADERS.map(value);
        (answer.status, values, PRESENT.map(|name| answer.headers.contains_key(name)))
    };
    let (left, right) = (headers(expected), headers(actual));
    if left != right {
        return Some(format!("{left:?}\n{right:?}"));
    }
    body_difference(&expected.body, &actual.body, Order::asked_by(ask))
}

pub(crate) fn body_difference(expected: &[u8], actual: &[u8], order: Order) -> Option<String> {
    let parsed = |body| serde_json::from_slice::<Value>(body);
    let same = match (parsed(expected), parsed(actual)) {
        (Ok(expected), Ok(actual)) => is_same(&expected, &actual, order),
        _ => expected == actual,
    };
    let text = String::from_utf8_lossy;
    (!same).then(|| format!("{}\n{}", text(expected), text(actual)))
}

/// Equal, but for times.
fn is_same(expected: &Value, actual: &Value, order: Order) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.keys().eq(actual.keys())
                && expected.iter().all(|(key, expected)| {
                    let actual = &actual[key];
                    match key.as_str() {
                        "expiration" => true,
                        "ttl" => ttl(expected).abs_diff(ttl(actual)) <= TTL_S_SLACK.unsigned_abs(),
                        "nodes" if order == Order::Any => {
                            is_same(&sorted(expected), &sorted(actual), order)
                        }
                        _ => is_same(expected, actual, order),
                    }
                })
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(left, right)| is_same(left, right, order))
        }
        _ => expected == actual,
    }
}

fn ttl(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no time to live"))
}

fn sorted(nodes: &Value) -> Value {
    let mut nodes = nodes.as_array().unwrap().clone();
    nodes.sort_by_key(|node| node["key"].as_str().unwrap().to_owned());
    Value::Array(nodes)
}
