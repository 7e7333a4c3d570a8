//! Requests that every server has to refuse: the same code and text from both, and nothing
//! changed by any of them.

use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use testkit::{Clients, Kind, Program, Server, bounded, subject};
use tonic::Code;

use crate::store::{Outcome, assert_serves, contents, outcome, put_request};

const KIB: usize = 1 << 10;
/// etcd's default `--max-request-bytes`.
const REQUEST_BYTES_MAX: usize = 1_536 * KIB;
/// etcd's default `--max-txn-ops`.
const TXN_OPS_MAX: usize = 128;
/// A lease that no test grants.
const NO_LEASE: i64 = 4_711;

/// A bad request and the answer it has to get.
struct BadInput {
    name: &'static str,
    code: Code,
    text: &'static str,
    request: fn() -> Bad,
}

/// The requests that these tests make.
enum Bad {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(i64),
    Grant(LeaseGrantRequest),
    Revoke(i64),
    UserGet(&'static str),
    UserAdd(&'static str),
    RoleGet(&'static str),
    GrantRole(&'static str, &'static str),
    AuthEnable,
}

const INPUTS: &[BadInput] = &[
    BadInput {
        name: "put of the empty key",
        code: Code::InvalidArgument,
        text: "etcdserver: key is not provided",
        request: || Bad::Put(put_request("", "v")),
    },
    BadInput {
        name: "range of the empty key",
        code: Code::InvalidArgument,
        text: "etcdserver: key is not provided",
        request: || Bad::Range(RangeRequest::default()),
    },
    BadInput {
        name: "delete of the empty key",
        code: Code::InvalidArgument,
        text: "etcdserver: key is not provided",
        request: || Bad::Delete(DeleteRangeRequest::default()),
    },
    BadInput {
        name: "put with an unknown lease",
        code: Code::NotFound,
        text: "etcdserver: requested lease not found",
        request: || Bad::Put(PutRequest { lease: NO_LEASE, ..put_request("k", "v") }),
    },
    BadInput {
        name: "transaction that puts with an unknown lease",
        code: Code::NotFound,
        text: "etcdserver: requested lease not found",
        request: || {
            let bad = PutRequest { lease: NO_LEASE, ..put_request("k2", "v") };
            Bad::Txn(all_of(vec![put_op(put_request("k", "v")), put_op(bad)]))
        },
    },
    BadInput {
        name: "value ignored and given",
        code: Code::InvalidArgument,
        text: "etcdserver: value is provided",
        request: || Bad::Put(PutRequest { ignore_value: true, ..put_request("k", "v") }),
    },
    BadInput {
        name: "lease ignored and given",
        code: Code::InvalidArgument,
        text: "etcdserver: lease is provided",
        request: || Bad::Put(PutRequest { ignore_lease: true, lease: 5, ..put_request("k", "v") }),
    },
    BadInput {
        name: "value ignored of a key that is not there",
        code: Code::InvalidArgument,
        text: "etcdserver: key not found",
        request: || Bad::Put(PutRequest { ignore_value: true, ..put_request("none", "") }),
    },
    BadInput {
        name: "range at a future revision",
        code: Code::OutOfRange,
        text: "etcdserver: mvcc: required revision is a future revision",
        request: || Bad::Range(range_at(1_000_000)),
    },
    BadInput {
        name: "range at a compacted revision",
        code: Code::OutOfRange,
        text: "etcdserver: mvcc: required revision has been compacted",
        request: || Bad::Range(range_at(1)),
    },
    BadInput {
        name: "transaction with a range at a compacted revision",
        code: Code::OutOfRange,
        text: "etcdserver: mvcc: required revision has been compacted",
        request: || {
            let range = RequestOp { request: Some(Request::RequestRange(range_at(1))) };
            Bad::Txn(all_of(vec![put_op(put_request("k", "v")), range]))
        },
    },
    BadInput {
        name: "compaction of a compacted revision",
        code: Code::OutOfRange,
        text: "etcdserver: mvcc: required revision has been compacted",
        request: || Bad::Compact(2),
    },
    BadInput {
        name: "compaction of a future revision",
        code: Code::OutOfRange,
        text: "etcdserver: mvcc: required revision is a future revision",
        request: || Bad::Compact(1_000_000),
    },
    BadInput {
        name: "transaction with too many operations",
        code: Code::InvalidArgument,
        text: "etcdserver: too many operations in txn request",
        request: || Bad::Txn(all_of(puts(TXN_OPS_MAX + 1))),
    },
    BadInput {
        name: "transaction with too many comparisons",
        code: Code::InvalidArgument,
        text: "etcdserver: too many operations in txn request",
        request: || {
            let compare = Compare {
                key: "k".into(),
                target_union: Some(TargetUnion::Version(0)),
                ..Default::default()
            };
            Bad::Txn(TxnRequest { compare: vec![compare; TXN_OPS_MAX + 1], ..Default::default() })
        },
    },
    BadInput {
        name: "transaction that puts a key twice",
        code: Code::InvalidArgument,
        text: "etcdserver: duplicate key given in txn request",
        request: || {
            Bad::Txn(all_of(vec![put_op(put_request("k", "1")), put_op(put_request("k", "2"))]))
        },
    },
    BadInput {
        name: "transaction that puts a key and deletes its range",
        code: Code::InvalidArgument,
        text: "etcdserver: duplicate key given in txn request",
        request: || {
            let delete =
                DeleteRangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
            let delete = RequestOp { request: Some(Request::RequestDeleteRange(delete)) };
            Bad::Txn(all_of(vec![put_op(put_request("k", "1")), delete]))
        },
    },
    BadInput {
        name: "transaction with an empty key",
        code: Code::InvalidArgument,
        text: "etcdserver: key is not provided",
        request: || Bad::Txn(all_of(vec![put_op(put_request("", "v"))])),
    },
    BadInput {
        name: "request above max-request-bytes",
        code: Code::InvalidArgument,
        text: "etcdserver: request is too large",
        request: || Bad::Put(put_request("k", vec![0; REQUEST_BYTES_MAX])),
    },
    BadInput {
        name: "grant of a lease that exists",
        code: Code::FailedPrecondition,
        text: "etcdserver: lease already exists",
        request: || Bad::Grant(LeaseGrantRequest { ttl: 1_000, id: OLD_LEASE }),
    },
    BadInput {
        name: "grant with a TTL that is too large",
        code: Code::OutOfRange,
        text: "etcdserver: too large lease TTL",
        request: || Bad::Grant(LeaseGrantRequest { ttl: 9_000_000_001, id: 0 }),
    },
    BadInput {
        name: "revoke of an unknown lease",
        code: Code::NotFound,
        text: "etcdserver: requested lease not found",
        request: || Bad::Revoke(NO_LEASE),
    },
    BadInput {
        name: "unknown user",
        code: Code::FailedPrecondition,
        text: "etcdserver: user name not found",
        request: || Bad::UserGet("nobody"),
    },
    BadInput {
        name: "user without a name",
        code: Code::InvalidArgument,
        text: "etcdserver: user name is empty",
        request: || Bad::UserAdd(""),
    },
    BadInput {
        name: "unknown role",
        code: Code::FailedPrecondition,
        text: "etcdserver: role name not found",
        request: || Bad::RoleGet("nothing"),
    },
    BadInput {
        name: "role for an unknown user",
        code: Code::FailedPrecondition,
        text: "etcdserver: user name not found",
        request: || Bad::GrantRole("nobody", "nothing"),
    },
    BadInput {
        name: "authentication without root",
        code: Code::FailedPrecondition,
        text: "etcdserver: root user does not exist",
        request: || Bad::AuthEnable,
    },
];

/// Refused by berth as by later etcds; 3.4 does not look at these fields.
const BERTH_INPUTS: &[BadInput] = &[
    BadInput {
        name: "unknown sort order",
        code: Code::InvalidArgument,
        text: "etcdserver: invalid sort option",
        request: || Bad::Range(RangeRequest { sort_order: 9, ..range_at(0) }),
    },
    BadInput {
        name: "unknown sort target",
        code: Code::InvalidArgument,
        text: "etcdserver: invalid sort option",
        request: || Bad::Range(RangeRequest { sort_target: 9, ..range_at(0) }),
    },
];

/// Granted before the bad inputs.
const OLD_LEASE: i64 = 12;

/// Proves that bad requests get etcd's own refusal and change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_in_etcds_words() {
    for program in [Program::etcd(), subject!()] {
        let kind = program.kind;
        let mut server = Server::start(program, &[]).await;
        prepare(&server).await;
        let before = contents(&server).await;
        let own = if kind == Kind::Berth { BERTH_INPUTS } else { &[] };
        for input in INPUTS.iter().chain(own) {
            let answer = send(&mut server.clients(), (input.request)()).await;
            assert_eq!(answer, (input.code, input.text.to_owned()), "{kind:?}: {}", input.name);
            assert_eq!(contents(&server).await, before, "{kind:?}: {}", input.name);
        }
        assert_serves(&mut server).await;
    }
}

/// Proves that requests which look wrong but are not get an empty answer, as from etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_that_hold_nothing_are_no_error() {
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        prepare(&server).await;
        let before = contents(&server).await;
        let (key, range_end) = (bytes::Bytes::from("z"), bytes::Bytes::from("a"));
        let mut kv = server.clients().kv;
        let range =
            RangeRequest { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
        let answer = kv.range(range).await.expect("an empty range is no error").into_inner();
        assert_eq!((answer.count, answer.kvs.len(), answer.more), (0, 0, false));
        let delete = DeleteRangeRequest { key, range_end, prev_kv: true };
        let answer = kv.delete_range(delete).await.expect("an empty range is no error");
        assert_eq!(answer.into_inner().deleted, 0);
        assert_eq!(contents(&server).await, before);
    }
}

/// Proves that a put which needs its key, after a delete of that key in the same transaction, is
/// answered: etcd crashes on it (its check for duplicate keys does not see a delete "from this
/// key on").
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_crashes_etcd_is_answered() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        println!("not run: it would crash the subject");
        return;
    }
    let mut server = Server::start(program, &[]).await;
    prepare(&server).await;
    let delete =
        DeleteRangeRequest { key: "a".into(), range_end: vec![0].into(), ..Default::default() };
    let delete = RequestOp { request: Some(Request::RequestDeleteRange(delete)) };
    let put = PutRequest { ignore_value: true, ..put_request("k", "") };
    let (code, text) =
        send(&mut server.clients(), Bad::Txn(all_of(vec![delete, put_op(put)]))).await;
    assert!(
        code == Code::Ok || text == "etcdserver: key not found",
        "neither done nor refused: {code:?} {text}"
    );
    assert_serves(&mut server).await;
}

/// Some history, compacted, and a lease.
async fn prepare(server: &Server) {
    let mut clients = server.clients();
    for value in ["1", "2", "3"] {
        clients.kv.put(put_request("k", value)).await.expect("a put");
    }
    let compact = CompactionRequest { revision: 3, physical: true };
    clients.kv.compact(compact).await.expect("a compaction");
    let grant = LeaseGrantRequest { ttl: 5_000, id: OLD_LEASE };
    clients.lease.lease_grant(grant).await.expect("a lease");
}

async fn send(clients: &mut Clients, bad: Bad) -> Outcome {
    bounded(async {
        match bad {
            Bad::Put(request) => outcome(clients.kv.put(request).await),
            Bad::Range(request) => outcome(clients.kv.range(request).await),
            Bad::Delete(request) => outcome(clients.kv.delete_range(request).await),
            Bad::Txn(request) => outcome(clients.kv.txn(request).await),
            Bad::Compact(revision) => {
                let request = CompactionRequest { revision, physical: false };
                outcome(clients.kv.compact(request).await)
            }
            Bad::Grant(request) => outcome(clients.lease.lease_grant(request).await),
            Bad::Revoke(id) => outcome(clients.lease.lease_revoke(LeaseRevokeRequest { id }).await),
            other => send_auth(clients, other).await,
        }
    })
    .await
}

async fn send_auth(clients: &mut Clients, bad: Bad) -> Outcome {
    match bad {
        Bad::UserGet(name) => {
            outcome(clients.auth.user_get(AuthUserGetRequest { name: name.into() }).await)
        }
        Bad::UserAdd(name) => {
            let request = AuthUserAddRequest {
                name: name.into(),
                password: "secret".into(),
                ..Default::default()
            };
            outcome(clients.auth.user_add(request).await)
        }
        Bad::RoleGet(role) => {
            outcome(clients.auth.role_get(AuthRoleGetRequest { role: role.into() }).await)
        }
        Bad::GrantRole(user, role) => {
            let request = AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
            outcome(clients.auth.user_grant_role(request).await)
        }
        Bad::AuthEnable => outcome(clients.auth.auth_enable(AuthEnableRequest {}).await),
        _ => unreachable!("the others are sent by `send`"),
    }
}

fn range_at(revision: i64) -> RangeRequest {
    RangeRequest { key: "k".into(), revision, ..Default::default() }
}

fn put_op(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn puts(count: usize) -> Vec<RequestOp> {
    (0..count).map(|number| put_op(put_request(&format!("many/{number}"), "v"))).collect()
}

fn all_of(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success, ..Default::default() }
}
