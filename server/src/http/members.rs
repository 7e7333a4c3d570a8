//! `/members` on the peer address: who the members are, as etcd tells those who want to join.

use std::sync::Arc;

use api::etcdserverpb::Member;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::reply;

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");

/// Whom to ask.
#[derive(Clone)]
pub(super) struct Members {
    pub(super) cluster_id: u64,
    pub(super) list: Arc<dyn Fn() -> Vec<Member> + Send + Sync>,
}

pub(super) async fn members(State(members): State<Members>, request: Request) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed();
    }
    let mut list = (members.list)();
    list.sort_by_key(|member| member.id);
    let list: Vec<Value> = list.iter().map(member).collect();
    let mut response = reply::with_type("application/json", format!("{}\n", Value::Array(list)));
    let id = HeaderValue::from_str(&format!("{:x}", members.cluster_id))
        .expect("hexadecimal digits are a header's value");
    response.headers_mut().insert(CLUSTER_ID, id);
    response
}

/// In etcd's order of keys, without what is empty.
fn member(member: &Member) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    put("id", json!(member.id));
    put("peerURLs", json!(member.peer_urls));
    if member.is_learner {
        put("isLearner", json!(true));
    }
    if !member.name.is_empty() {
        put("name", json!(member.name));
    }
    if !member.client_urls.is_empty() {
        put("clientURLs", json!(member.client_urls));
    }
    Value::Object(fields)
}
