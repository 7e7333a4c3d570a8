//! Commands of the server itself.

use api::berthpb::{Command, PublishMember, command::Op};
use api::etcdserverpb::{CompactionRequest, Member};

/// No principal: the server asks for itself.
fn own(op: Op) -> Command {
    Command { principal: None, origin: None, op: Some(op) }
}

pub(super) fn compact(revision: i64) -> Command {
    own(Op::Compact(CompactionRequest { revision, physical: false }))
}

pub(super) fn publish(member: Member) -> Command {
    own(Op::PublishMember(PublishMember { member: Some(member), incarnation: 0 }))
}
