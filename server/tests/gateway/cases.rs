//! What is asked of etcd and of the subject, in this order.
//!
//! `$OWN` is the member's id and `$PEER` its address for others, `$ADDED` the id of the last member
//! that was added, `$TOKEN` the last token.

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) verb: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static str,
    /// How many lines of a stream without an end are looked at.
    pub(crate) lines: usize,
    /// Status and `code` that later versions of etcd answer, and why.
    pub(crate) later: Option<(u16, Option<i64>, &'static str)>,
}

const fn post(path: &'static str, body: &'static str) -> Case {
    Case { verb: "POST", path, headers: &[], body, lines: 0, later: None }
}

const fn stream(path: &'static str, body: &'static str, lines: usize) -> Case {
    Case { lines, ..post(path, body) }
}

const fn verb(verb: &'static str, path: &'static str) -> Case {
    Case { verb, ..post(path, "") }
}

const fn with(headers: &'static [(&'static str, &'static str)], case: Case) -> Case {
    Case { headers, ..case }
}

const fn later(case: Case, status: u16, code: Option<i64>, why: &'static str) -> Case {
    Case { later: Some((status, code, why)), ..case }
}

const PRECONDITION: &str = "from 3.6 on, FailedPrecondition is 400";
const FIRST_MESSAGE: &str = "from 3.6 on, a bad first message is the caller's fault";
const BASE64: &str = "from 3.6 on, base64 may be without padding, or for URLs";
const WHOLE_FLOAT: &str = "from 3.6 on, 1.0 is an integer";
const NO_ORDER: &str = "from 3.5 on, an unknown order is refused";
const NO_AUTH: &str = "from 3.5 on, a token is of no account while auth is off";
const NO_METHOD: &str = "a later method";
const HEADER: &str = "later ones have a header";

#[rustfmt::skip] // one request, one line
pub(crate) const CASES: &[Case] = &[
    // Keys.
    post("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    post("/v3/kv/put", r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#),
    post("/v3/kv/put", r#"{"key":"Zm9v","ignoreValue":true,"prevKv":true}"#),
    post("/v3/kv/put", r#"{"key":"Zm9v","value":"YmF6","ignore_value":true}"#),
    post("/v3/kv/put", r#"{"key":"bm9uZQ==","ignore_value":true}"#),
    post("/v3/kv/put", r#"{"value":"YmFy"}"#),
    post("/v3/kv/put", r#"{"key":"eHkv/w==","value":"AAEC/v8="}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    post("/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","limit":"1","sort_order":"DESCEND","sort_target":"KEY"}"#),
    post("/v3/kv/range", r#"{"key":"AA==","rangeEnd":"AA==","countOnly":true}"#),
    post("/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","keys_only":true,"sortOrder":1,"sortTarget":"MOD"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","revision":"99"}"#),
    later(post("/v3/kv/range", r#"{"key":"Zm9v","sort_order":99}"#), 400, Some(3), NO_ORDER),
    post("/v3/kv/range", ""),
    post("/v3/kv/range", "null"),
    post("/v3/kv/range", "{}"),
    post("/v3/kv/range", r#"{"key":null}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","key":"eA=="}"#),
    post("/v3/kv/range", r#"{"KEY":"Zm9v"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","unknown":{"a":[1,null,"x"]},"unknown2":1e40}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v"} what follows {{{"#),
    post("/v3/kv/range", "{bad"),
    post("/v3/kv/range", r#"{"key":"Zm9v""#),
    post("/v3/kv/range", "[]"),
    post("/v3/kv/range", r#""x""#),
    post("/v3/kv/range", "5"),
    post("/v3/kv/range", r#"{"key":5}"#),
    post("/v3/kv/range", r#"{"key":"!!"}"#),
    post("/v3/kv/range", r#"{"key":{"a":1}}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","limit":"x"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","limit":1.5}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","limit":99999999999999999999}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","sort_order":"nope"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","keys_only":"true"}"#),
    later(post("/v3/kv/range", r#"{"key":"Zm9"}"#), 200, None, BASE64),
    later(post("/v3/kv/range", r#"{"key":"_-8="}"#), 200, None, BASE64),
    later(post("/v3/kv/range", r#"{"key":"Zm9v","limit":1.0}"#), 200, None, WHOLE_FLOAT),
    post("/v3/kv/txn", "{}"),
    post("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","result":"EQUAL","target":"VERSION","version":"3"}],"success":[{"request_put":{"key":"dA==","value":"MQ==","prev_kv":true}},{"requestRange":{"key":"Zm9v"}}],"failure":[{"request_delete_range":{"key":"Zm9v"}}]}"#),
    post("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","result":3,"target":1,"create_revision":"1"}],"success":[{"request_txn":{"success":[{"request_range":{"key":"dA=="}}]}}]}"#),
    post("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","result":"GREATER","target":"MOD","modRevision":"999"}],"failure":[{"request_delete_range":{"key":"dA==","prev_kv":true}}]}"#),
    post("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","result":"LESS","target":"VALUE","value":"eg=="}]}"#),
    post("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"dA=="}},{"request_put":{"key":"dA=="}}]}"#),
    post("/v3/kv/txn", r#"{"compare":{}}"#),
    post("/v3/kv/txn", r#"{"success":[{"request_put":"x"}]}"#),
    post("/v3/kv/deleterange", r#"{"key":"eA==","range_end":"eg==","prev_kv":true}"#),
    post("/v3/kv/deleterange", r#"{"key":"bm9uZQ=="}"#),
    post("/v3/kv/deleterange", "{}"),
    post("/v3/kv/compaction", r#"{"revision":"3"}"#),
    post("/v3/kv/compaction", r#"{"revision":"3","physical":true}"#),
    post("/v3/kv/compaction", r#"{"revision":"9999"}"#),
    post("/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    // Leases.
    post("/v3/lease/grant", r#"{"ID":"77","TTL":"600"}"#),
    later(post("/v3/lease/grant", r#"{"ID":77,"TTL":600}"#), 400, Some(9), PRECONDITION),
    post("/v3/lease/grant", r#"{"ID":"78","TTL":"9999999999"}"#),
    post("/v3/kv/put", r#"{"key":"bGVhc2Vk","value":"MQ==","lease":"77"}"#),
    post("/v3/kv/put", r#"{"key":"bGVhc2Vk","value":"MQ==","lease":"1"}"#),
    post("/v3/kv/lease/timetolive", r#"{"ID":"1"}"#),
    post("/v3/lease/timetolive", r#"{"ID":"77"}"#),
    post("/v3/lease/timetolive", r#"{"ID":"77","keys":true}"#),
    post("/v3/lease/leases", "{}"),
    post("/v3/kv/lease/leases", ""),
    stream("/v3/lease/keepalive", r#"{"ID":"77"}"#, 0),
    stream("/v3/lease/keepalive", r#"{"ID":"77"}{"ID":"1"}"#, 0),
    stream("/v3/lease/keepalive", "", 0),
    later(stream("/v3/lease/keepalive", "{bad", 0), 400, Some(3), FIRST_MESSAGE),
    stream("/v3/lease/keepalive", r#"{"ID":"77"}{bad"#, 0),
    post("/v3/lease/revoke", r#"{"ID":"1"}"#),
    // Locks and elections.
    post("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"77"}"#),
    post("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"77"}"#),
    post("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"1"}"#),
    post("/v3/lock/unlock", r#"{"key":"bG9jay80ZA=="}"#),
    post("/v3/lock/unlock", r#"{"key":"bG9jay80ZA=="}"#),
    post("/v3/lock/unlock", "{}"),
    post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    post("/v3/election/campaign", r#"{"name":"ZQ==","lease":"77","value":"dg=="}"#),
    post("/v3/election/campaign", r#"{"name":"ZQ==","lease":"77","value":"dzI="}"#),
    post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    stream("/v3/election/observe", r#"{"name":"ZQ=="}"#, 1),
    post("/v3/election/proclaim", r#"{"value":"dw=="}"#),
    post("/v3/election/proclaim", r#"{"leader":{"name":"ZQ==","key":"ZS80ZA==","rev":"1","lease":"77"},"value":"dw=="}"#),
    post("/v3/election/resign", "{}"),
    post("/v3/election/resign", r#"{"leader":{}}"#),
    post("/v3/election/resign", r#"{"leader":{"name":"ZQ==","key":"ZS80ZA==","rev":"1","lease":"77"}}"#),
    post("/v3/lease/revoke", r#"{"ID":"77"}"#),
    post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    // Watches.
    stream("/v3/watch", r#"{"create_request":{"key":"Zm9v","start_revision":"4"}}"#, 2),
    stream("/v3/watch", r#"{"createRequest":{"key":"AA==","rangeEnd":"AA==","startRevision":"4","prevKv":true,"filters":["NODELETE"]}}"#, 2),
    stream("/v3/watch", r#"{"create_request":{"key":"Zm9v","start_revision":"1"}}"#, 2),
    stream("/v3/watch", r#"{"create_request":{"key":"Zm9v"}}{"cancel_request":{"watch_id":"0"}}"#, 2),
    stream("/v3/watch", r#"{"create_request":{"key":"Zm9v","watch_id":"7"}}"#, 1),
    later(stream("/v3/watch", "{bad", 0), 400, Some(3), FIRST_MESSAGE),
    later(stream("/v3/watch", "[]", 0), 400, Some(3), FIRST_MESSAGE),
    // Members and upkeep.
    post("/v3/cluster/member/list", "{}"),
    post("/v3/cluster/member/remove", r#"{"ID":"1"}"#),
    post("/v3/cluster/member/promote", r#"{"ID":"1"}"#),
    post("/v3/cluster/member/update", r#"{"ID":"1","peerURLs":["http://127.0.0.1:1"]}"#),
    post("/v3/cluster/member/add", r#"{"peerURLs":["nonsense"]}"#),
    post("/v3/cluster/member/update", r#"{"ID":"$OWN","peerURLs":["http://$PEER"]}"#),
    post("/v3/cluster/member/add", r#"{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}"#),
    post("/v3/cluster/member/list", "{}"),
    later(post("/v3/cluster/member/promote", r#"{"ID":"$ADDED"}"#), 400, Some(9), PRECONDITION),
    post("/v3/cluster/member/remove", r#"{"ID":"$ADDED"}"#),
    post("/v3/cluster/member/list", ""),
    later(post("/v3/maintenance/alarm", r#"{"action":"GET"}"#), 200, None, HEADER),
    later(post("/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"$OWN","alarm":"NOSPACE"}"#), 200, None, HEADER),
    later(post("/v3/maintenance/alarm", "{}"), 200, None, HEADER),
    post("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
    later(post("/v3/maintenance/alarm", r#"{"action":"DEACTIVATE","memberID":"$OWN","alarm":"NOSPACE"}"#), 200, None, HEADER),
    later(post("/v3/maintenance/alarm", "{}"), 200, None, HEADER),
    post("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
    post("/v3/maintenance/hash", "{}"),
    later(post("/v3/maintenance/hashkv", "{}"), 200, None, NO_METHOD),
    later(post("/v3/maintenance/hashkv", r#"{"revision":"9999"}"#), 400, Some(11), NO_METHOD),
    post("/v3/maintenance/defragment", "{}"),
    post("/v3/maintenance/transfer-leadership", r#"{"targetID":"$OWN"}"#),
    later(post("/v3/maintenance/transfer-leadership", r#"{"targetID":"1"}"#), 400, Some(9), PRECONDITION),
    later(post("/v3/maintenance/downgrade", r#"{"action":"VALIDATE","version":"x"}"#), 400, Some(3), NO_METHOD),
    // Users.
    post("/v3/auth/user/list", "{}"),
    post("/v3/auth/role/add", r#"{"name":"r"}"#),
    later(post("/v3/auth/role/add", r#"{"name":"r"}"#), 400, Some(9), PRECONDITION),
    post("/v3/auth/role/grant", r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#),
    post("/v3/auth/role/get", r#"{"role":"r"}"#),
    post("/v3/auth/user/add", r#"{"name":"u","password":"p"}"#),
    post("/v3/auth/user/add", "{}"),
    post("/v3/auth/user/grant", r#"{"user":"u","role":"r"}"#),
    post("/v3/auth/user/get", r#"{"name":"u"}"#),
    post("/v3/auth/user/changepw", r#"{"name":"u","password":"q"}"#),
    post("/v3/auth/role/revoke", r#"{"role":"r","key":"YQ==","range_end":"Yg=="}"#),
    post("/v3/auth/user/revoke", r#"{"name":"u","role":"r"}"#),
    post("/v3/auth/role/list", "{}"),
    later(post("/v3/auth/enable", "{}"), 400, Some(9), PRECONDITION),
    later(post("/v3/auth/authenticate", r#"{"name":"u","password":"q"}"#), 400, Some(9), PRECONDITION),
    post("/v3/auth/disable", "{}"),
    later(post("/v3/auth/status", "{}"), 200, None, NO_METHOD),
    post("/v3/auth/role/add", r#"{"name":"root"}"#),
    post("/v3/auth/user/add", r#"{"name":"root","password":"p"}"#),
    post("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
    post("/v3/auth/enable", "{}"),
    post("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    post("/v3/auth/authenticate", r#"{"name":"root","password":"wrong"}"#),
    post("/v3/auth/authenticate", r#"{"name":"root","password":"p"}"#),
    with(&[("authorization", "$TOKEN")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    post("/v3/auth/disable", "{}"),
    with(&[("authorization", "$TOKEN")], post("/v3/auth/disable", "{}")),
    post("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    post("/v3/auth/user/delete", r#"{"name":"root"}"#),
    post("/v3/auth/user/delete", r#"{"name":"u"}"#),
    post("/v3/auth/role/delete", r#"{"role":"r"}"#),
    // Paths, methods and headers.
    post("/v3beta/kv/range", r#"{"key":"Zm9v"}"#),
    later(post("/v3alpha/kv/range", r#"{"key":"Zm9v"}"#), 200, None, "it is served here; etcd dropped it"),
    post("/v3/kv/range?pretty=true", r#"{"key":"Zm9v"}"#),
    post("/v3/kv/%72ange", r#"{"key":"Zm9v"}"#),
    post("/v3/kv/range/", "{}"),
    post("/v3/kv/range:x", "{}"),
    post("/v3/kv", "{}"),
    post("/v3/kv/", "{}"),
    post("/v3/", "{}"),
    post("/v3/nope", "{}"),
    post("/v3beta", "{}"),
    post("/v3/kv/rangestream", "{}"),
    verb("GET", "/v3"),
    verb("GET", "/v3/kv/range"),
    verb("GET", "/v3/nope"),
    verb("HEAD", "/v3/kv/range"),
    verb("PUT", "/v3/kv/range"),
    verb("DELETE", "/v3/watch"),
    verb("PATCH", "/v3/kv/range"),
    verb("OPTIONS", "/v3/kv/range"),
    verb("OPTIONS", "/nothing"),
    verb("GET", "/nothing"),
    verb("GET", "/v3//kv/range"),
    verb("GET", "/v3/kv/x/../range"),
    with(&[("content-type", "text/plain")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    with(&[("content-type", "application/x-www-form-urlencoded")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    with(&[("accept", "text/html")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    later(with(&[("authorization", "nonsense")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)), 200, None, NO_AUTH),
    with(&[("grpc-metadata-hasleader", "true")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    with(&[("grpc-timeout", "x")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    with(&[("grpc-timeout", "1n")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
    with(&[("grpc-timeout", "1H")], post("/v3/kv/range", r#"{"key":"Zm9v"}"#)),
];
