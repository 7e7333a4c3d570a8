//! The language of transcripts: etcdctl's verbs, options as words, `_` for an empty argument.
//!
//! A transaction's parts are the indented lines behind it: `if TARGET KEY[..END] OP WANTED`,
//! `then COMMAND`, `else COMMAND`. `as USER@AUTH_REVISION` before a command says who asks.

use api::authpb;
use api::berthpb::command::Op;
use api::berthpb::{ExpireLeases, ExpiredLease, Principal};
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use bytes::Bytes;

pub(super) struct Line {
    pub(super) principal: Option<Principal>,
    pub(super) verb: Verb,
}

pub(super) enum Verb {
    Apply(Op),
    Get(RangeRequest),
    History(i64),
    Leases,
    Size,
    HashIsThatOfACopy,
    Flush,
    Vacuum,
    Reopen,
    AuthRevision,
}

/// A command and its indented parts.
pub(super) fn line(text: &str, parts: &[&str]) -> Line {
    let mut words = Words::new(text);
    let principal = words.flag("as").then(|| super::principal(words.next()));
    let verb = match words.next() {
        "put" => Verb::Apply(Op::Put(put(&mut words))),
        "get" => Verb::Get(range(&mut words)),
        "del" => Verb::Apply(Op::DeleteRange(delete(&mut words))),
        "txn" => Verb::Apply(Op::Txn(txn(parts))),
        "history" => Verb::History(words.number()),
        "leases" => Verb::Leases,
        "size" => Verb::Size,
        "hash-of-copy" => Verb::HashIsThatOfACopy,
        "flush" => Verb::Flush,
        "vacuum" => Verb::Vacuum,
        "reopen" => Verb::Reopen,
        "auth-revision" => Verb::AuthRevision,
        other => Verb::Apply(other_op(other, &mut words)),
    };
    words.end();
    Line { principal, verb }
}

fn other_op(verb: &str, words: &mut Words) -> Op {
    match verb {
        "compact" => Op::Compact(CompactionRequest { revision: words.number(), physical: false }),
        "grant" => {
            let id = words.number();
            Op::LeaseGrant(LeaseGrantRequest { id, ttl: words.number() })
        }
        "revoke" => Op::LeaseRevoke(LeaseRevokeRequest { id: words.number() }),
        "expire" => Op::ExpireLeases(ExpireLeases { leases: words.rest().map(expired).collect() }),
        "alarm" => {
            let action = match words.next() {
                "get" => alarm_request::AlarmAction::Get,
                "raise" => alarm_request::AlarmAction::Activate,
                "disarm" => alarm_request::AlarmAction::Deactivate,
                other => panic!("{other}"),
            };
            let alarm = AlarmType::from_str_name(words.next()).unwrap() as i32;
            Op::Alarm(AlarmRequest { action: action as i32, member_id: 1, alarm })
        }
        "auth-enable" => Op::AuthEnable(AuthEnableRequest {}),
        "auth-disable" => Op::AuthDisable(AuthDisableRequest {}),
        "user-add" => {
            Op::UserAdd(AuthUserAddRequest { name: words.string(), ..Default::default() })
        }
        "user-grant" => {
            let user = words.string();
            Op::UserGrantRole(AuthUserGrantRoleRequest { user, role: words.string() })
        }
        "role-add" => Op::RoleAdd(AuthRoleAddRequest { name: words.string() }),
        "role-grant" => {
            let name = words.string();
            let perm_type = authpb::permission::Type::from_str_name(words.next()).unwrap() as i32;
            let (key, range_end) = words.range();
            let perm = Some(authpb::Permission { perm_type, key, range_end });
            Op::RoleGrantPermission(AuthRoleGrantPermissionRequest { name, perm })
        }
        other => panic!("{other}"),
    }
}

fn expired(word: &str) -> ExpiredLease {
    let (id, grant_index) = word.split_once('@').unwrap();
    ExpiredLease { id: id.parse().unwrap(), grant_index: grant_index.parse().unwrap() }
}

fn put(words: &mut Words) -> PutRequest {
    PutRequest {
        key: words.bytes(),
        value: words.bytes(),
        lease: words.option("lease"),
        prev_kv: words.flag("prev"),
        ignore_value: words.flag("ignore-value"),
        ignore_lease: words.flag("ignore-lease"),
    }
}

fn delete(words: &mut Words) -> DeleteRangeRequest {
    let (key, range_end) = words.range();
    DeleteRangeRequest { key, range_end, prev_kv: words.flag("prev") }
}

fn range(words: &mut Words) -> RangeRequest {
    let (key, range_end) = words.range();
    let target = words.text_option("sort").map_or(0, |name| {
        SortTarget::from_str_name(name)
            .map_or_else(|| name.parse().unwrap(), |target| target as i32)
    });
    let order = words.text_option("order");
    RangeRequest {
        key,
        range_end,
        sort_target: target,
        sort_order: order.map_or(0, |name| SortOrder::from_str_name(name).unwrap() as i32),
        revision: words.option("rev"),
        limit: words.option("limit"),
        keys_only: words.flag("keys-only"),
        count_only: words.flag("count-only"),
        min_mod_revision: words.option("min-mod"),
        max_mod_revision: words.option("max-mod"),
        min_create_revision: words.option("min-create"),
        max_create_revision: words.option("max-create"),
        serializable: false,
    }
}

fn txn(parts: &[&str]) -> TxnRequest {
    let mut request = TxnRequest::default();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut rest = parts;
    while let Some((first, behind)) = rest.split_first() {
        let nested = behind.iter().take_while(|line| indent(line) > indent(first)).count();
        let mut words = Words::new(first);
        match words.next() {
            "if" => request.compare.push(compare(&mut words)),
            "then" => request.success.push(operation(&mut words, &behind[..nested])),
            "else" => request.failure.push(operation(&mut words, &behind[..nested])),
            other => panic!("{other}"),
        }
        words.end();
        rest = &behind[nested..];
    }
    request
}

fn operation(words: &mut Words, parts: &[&str]) -> RequestOp {
    let request = match words.next() {
        "put" => Request::RequestPut(put(words)),
        "get" => Request::RequestRange(range(words)),
        "del" => Request::RequestDeleteRange(delete(words)),
        "txn" => Request::RequestTxn(txn(parts)),
        other => panic!("{other}"),
    };
    RequestOp { request: Some(request) }
}

fn compare(words: &mut Words) -> Compare {
    let target = words.next();
    let (key, range_end) = words.range();
    let result = match words.next() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => panic!("{other}"),
    };
    let (target, union) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(words.number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(words.number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(words.number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(words.number())),
        "value" => (CompareTarget::Value, TargetUnion::Value(words.bytes())),
        other => panic!("{other}"),
    };
    let (result, target) = (result as i32, target as i32);
    Compare { result, target, key, range_end, target_union: Some(union) }
}

struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        Words(line.split_whitespace().collect())
    }

    fn next(&mut self) -> &'a str {
        assert!(!self.0.is_empty(), "a word is missing");
        self.0.remove(0)
    }

    fn end(&self) {
        assert!(self.0.is_empty(), "not understood: {:?}", self.0);
    }

    fn rest(&mut self) -> impl Iterator<Item = &'a str> {
        std::mem::take(&mut self.0).into_iter()
    }

    fn number(&mut self) -> i64 {
        self.next().parse().unwrap()
    }

    fn string(&mut self) -> String {
        let word = self.next();
        if word == "_" { String::new() } else { word.to_owned() }
    }

    fn bytes(&mut self) -> Bytes {
        self.string().into()
    }

    /// `key`, `key..end`, or `key..` for everything from it on.
    fn range(&mut self) -> (Bytes, Bytes) {
        let word = self.string();
        match word.split_once("..") {
            None => (word.into(), Bytes::new()),
            Some((key, "")) => (key.to_owned().into(), Bytes::from_static(b"\0")),
            Some((key, end)) => (key.to_owned().into(), end.to_owned().into()),
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|word| *word == name);
        place.map(|place| self.0.remove(place)).is_some()
    }

    fn text_option(&mut self, name: &str) -> Option<&'a str> {
        let value = |word: &&'a str| word.strip_prefix(name)?.strip_prefix('=');
        let place = self.0.iter().position(|word| value(word).is_some())?;
        value(&self.0.remove(place))
    }

    fn option(&mut self, name: &str) -> i64 {
        self.text_option(name).map_or(0, |value| value.parse().unwrap())
    }
}
