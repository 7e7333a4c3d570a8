//! Commands of the server itself.

use api::berthpb::{Command, PublishMember, command::Op};
use api::etcdserverpb::CompactionRequest;

/// No principal: the server asks for itself.
fn own(op: Op) -> Command {
    Command { principal: None, origin: None, op: Some(op) }
}

pub(super) fn compact(revision: i64) -> Command {
    own(Op::Compact(CompactionRequest { revision, physical: false }))
}

pub(super) fn publish(member: PublishMember) -> Command {
    own(Op::PublishMember(member))
}
