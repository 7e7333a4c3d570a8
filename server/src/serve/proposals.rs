//! Commands of the server itself.

use api::berthpb::{Command, PublishMember, command::Op};
use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{AlarmRequest, AlarmType, CompactionRequest, Member};

/// No principal: the server asks for itself.
fn own(op: Op) -> Command {
    Command { principal: None, op: Some(op) }
}

pub(super) fn compact(revision: i64) -> Command {
    own(Op::Compact(CompactionRequest { revision, physical: false }))
}

/// Raises or lifts this member's NOSPACE alarm.
pub(super) fn nospace(member_id: u64, action: AlarmAction) -> Command {
    own(Op::Alarm(AlarmRequest {
        action: action.into(),
        member_id,
        alarm: AlarmType::Nospace.into(),
    }))
}

pub(super) fn publish(member: Member) -> Command {
    own(Op::PublishMember(PublishMember { member: Some(member) }))
}
