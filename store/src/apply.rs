//! One command after the other: dispatch, refusal, effect.

use crate::planted::{self, Mistake};
use std::sync::Arc;

use api::berthpb::command::Op;
use api::berthpb::v2_write::Action;
use api::berthpb::{
    CheckpointLeases, CheckpointedLease, Command, ExpireLeases, IssueToken, Principal,
    PublishMember, V2Expire, V2Write,
};
use api::etcdserverpb as pb;
use bytes::Bytes;

use crate::auth::AuthState;
use crate::authorize::Caller;
use crate::key_range::KeyRange;
use crate::outcome::Outcome;
use crate::persist::records;
use crate::shared::Shared;
use crate::state::{LeaseTerm, State};
use crate::txn::{self, Plan, PutPlan};
use crate::view::View;
use crate::write::{Batches, Write};
use crate::{Error, LEASE_TTL_S_MAX, Position, Response, response};

/// What an accepted command did.
pub(crate) struct Effect {
    pub(crate) outcome: Outcome,
    pub(crate) events: Batches,
}

/// Applies one command at its place in the log. After an error nothing has happened, and the mark
/// has not moved.
pub(crate) fn apply(
    shared: &Arc<Shared>,
    position: &Position,
    command: &Command,
) -> Result<Effect, Error> {
    let apply = Apply { shared, position, principal: command.principal.as_ref() };
    match &command.op {
        Some(Op::Put(request)) => apply.put(request),
        Some(Op::DeleteRange(request)) => apply.delete_range(request),
        Some(Op::Txn(request)) => apply.txn(request),
        Some(Op::Compact(request)) => apply.compact(request),
        Some(Op::LeaseGrant(request)) => apply.lease_grant(request),
        Some(Op::LeaseRevoke(request)) => apply.lease_revoke(request),
        Some(Op::ExpireLeases(request)) => apply.expire_leases(request),
        Some(Op::CheckpointLeases(request)) => Ok(apply.checkpoint_leases(request)),
        Some(Op::Alarm(request)) => Ok(apply.alarm(request)),
        Some(Op::PublishMember(request)) => Ok(apply.publish_member(request)),
        Some(Op::IssueToken(request)) => apply.issue_token(request),
        Some(Op::V2Write(request)) => apply.v2_write(request),
        Some(Op::V2Expire(request)) => apply.v2_expire(request),
        Some(op) => apply.auth(op),
        // Written by a later version, or by nobody: whoever drives the store must stop.
        None => Err(Error::UnknownCommand),
    }
}

struct Apply<'a> {
    shared: &'a Arc<Shared>,
    position: &'a Position,
    principal: Option<&'a Principal>,
}

impl<'a> Apply<'a> {
    fn begin(&self) -> Write<'a> {
        Write::begin(self.shared.state.write())
    }

    fn commit(&self, write: Write, outcome: Outcome) -> Effect {
        self.shared.work.add(write.calls);
        Effect { outcome, events: write.commit(self.position.clone()) }
    }

    /// Commits what answers with the revision alone.
    fn done(&self, mut write: Write, answer: impl FnOnce(i64) -> Response) -> Effect {
        write.end_revision();
        let answer = answer(write.state().revision);
        self.commit(write, Outcome::Done(answer))
    }

    fn put(&self, request: &pb::PutRequest) -> Result<Effect, Error> {
        let admit = |state: &State| {
            refuse_growth(state)?;
            Caller { state, principal: self.principal }.may_put(request)
        };
        if !request.ignore_value && !request.ignore_lease {
            let mut write = self.begin();
            admit(write.state())?;
            if request.lease != 0 && !write.state().leases.contains(request.lease) {
                return Err(Error::LeaseNotFound);
            }
            let plan = PutPlan { request, value: request.value.clone(), lease: request.lease };
            let outcome = txn::execute_put(&mut write, &plan);
            return Ok(self.commit(write, outcome));
        }
        let plan = PutPlan::new(&View::now(self.shared, admit)?, request)?;
        let mut write = self.begin();
        let outcome = txn::execute_put(&mut write, &plan);
        Ok(self.commit(write, outcome))
    }

    fn delete_range(&self, request: &pb::DeleteRangeRequest) -> Result<Effect, Error> {
        let mut write = self.begin();
        refuse_all(write.state())?;
        Caller { state: write.state(), principal: self.principal }.may_delete(request)?;
        let outcome = txn::execute_delete(&mut write, request);
        Ok(self.commit(write, outcome))
    }

    fn txn(&self, request: &pb::TxnRequest) -> Result<Effect, Error> {
        let view = View::now(self.shared, |state| {
            if puts_something(request) {
                refuse_growth(state)?;
            } else {
                refuse_all(state)?;
            }
            Caller { state, principal: self.principal }.may_txn(request)
        })?;
        let plan = Plan::new(&view, request)?;
        if plan.is_read_only() {
            // Readers need not wait for it.
            let mut outcome = txn::read(&view, plan)?;
            outcome.revision = view.revision;
            self.shared.work.add(outcome.reads());
            return Ok(self.commit(self.begin(), Outcome::Txn(outcome)));
        }
        let mut write = self.begin();
        let mut outcome = txn::execute(&mut write, plan);
        outcome.revision = write.revision();
        Ok(self.commit(write, Outcome::Txn(outcome)))
    }

    fn compact(&self, request: &pb::CompactionRequest) -> Result<Effect, Error> {
        let mut write = self.begin();
        let state = write.state_mut();
        refuse_all(state)?;
        if request.revision <= state.compact_revision {
            return Err(Error::Compacted);
        }
        if request.revision > state.revision {
            return Err(Error::FutureRevision);
        }
        state.compact_revision = request.revision;
        Ok(self.done(write, |revision| {
            Response::Compact(pb::CompactionResponse { header: response::header(revision) })
        }))
    }

    fn lease_grant(&self, request: &pb::LeaseGrantRequest) -> Result<Effect, Error> {
        let mut write = self.begin();
        refuse_growth(write.state())?;
        if request.id == 0 {
            return Err(Error::LeaseNotFound);
        }
        if request.ttl > LEASE_TTL_S_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if write.state().leases.contains(request.id) {
            return Err(Error::LeaseExists);
        }
        write.calls.leases_granted += 1;
        let grant_index = self.position.index;
        let term = LeaseTerm { ttl_s: request.ttl, grant_index, remaining_s: 0 };
        write.state_mut().leases.grant(request.id, term);
        write.record(records::lease_key(request.id), Some(records::encode_lease(&term)));
        Ok(self.done(write, |revision| {
            Response::LeaseGrant(pb::LeaseGrantResponse {
                header: response::header(revision),
                id: request.id,
                ttl: request.ttl,
                error: String::new(),
            })
        }))
    }

    fn lease_revoke(&self, request: &pb::LeaseRevokeRequest) -> Result<Effect, Error> {
        let mut write = self.begin();
        refuse_all(write.state())?;
        Caller { state: write.state(), principal: self.principal }.may_write_lease(request.id)?;
        if !write.state().leases.contains(request.id) {
            return Err(Error::LeaseNotFound);
        }
        end_lease(&mut write, request.id);
        Ok(self.done(write, |revision| {
            Response::LeaseRevoke(pb::LeaseRevokeResponse { header: response::header(revision) })
        }))
    }

    /// No key changes, and no revision; so no alarm stands against it.
    fn checkpoint_leases(&self, request: &CheckpointLeases) -> Effect {
        let mut write = self.begin();
        for CheckpointedLease { id, grant_index, remaining_s } in &request.leases {
            let leases = &mut write.state_mut().leases;
            if let Some(term) = leases.checkpoint(*id, *grant_index, *remaining_s) {
                write.record(records::lease_key(*id), Some(records::encode_lease(&term)));
            }
        }
        self.done(write, |_| Response::CheckpointLeases)
    }

    /// Each lease that has keys takes a revision of its own, as if it were revoked by itself.
    fn expire_leases(&self, request: &ExpireLeases) -> Result<Effect, Error> {
        let mut write = self.begin();
        refuse_all(write.state())?;
        for expired in &request.leases {
            let lease = write.state().leases.get(expired.id);
            if lease.is_some_and(|lease| lease.term.grant_index == expired.grant_index) {
                end_lease(&mut write, expired.id);
                write.end_revision();
            }
        }
        Ok(self.done(write, |_| Response::ExpireLeases))
    }

    fn alarm(&self, request: &pb::AlarmRequest) -> Effect {
        let mut write = self.begin();
        let alarms = &mut write.state_mut().alarms;
        let is_none = request.alarm == pb::AlarmType::None as i32;
        let answered = match request.action() {
            pb::alarm_request::AlarmAction::Get => alarms.of_type(request.alarm),
            pb::alarm_request::AlarmAction::Activate if is_none => Vec::new(),
            pb::alarm_request::AlarmAction::Activate => {
                vec![alarms.raise(request.alarm, request.member_id)]
            }
            pb::alarm_request::AlarmAction::Deactivate => {
                alarms.disarm(request.alarm, request.member_id).into_iter().collect()
            }
        };
        let record = records::encode_alarms(alarms.of_type(pb::AlarmType::None as i32));
        write.record(Bytes::from_static(records::ALARMS_KEY), Some(record));
        self.done(write, |revision| {
            let header = response::header(revision);
            Response::Alarm(pb::AlarmResponse { header, alarms: answered })
        })
    }

    fn publish_member(&self, published: &PublishMember) -> Effect {
        let mut write = self.begin();
        if let Some(member) = &published.member {
            let members = &mut write.state_mut().members;
            members.insert(member.id, published.clone());
            let record = records::encode_members(members);
            write.record(Bytes::from_static(records::MEMBERS_KEY), Some(record));
        }
        self.done(write, |_| Response::PublishMember)
    }

    /// The state of auth stays as it is: who holds a token is for each member to remember.
    fn issue_token(&self, request: &IssueToken) -> Result<Effect, Error> {
        let write = self.begin();
        let auth = &write.state().auth;
        if !auth.enabled() {
            return Err(Error::AuthNotEnabled);
        }
        if auth.password_hash(&request.user).is_none_or(str::is_empty) {
            return Err(Error::AuthFailed);
        }
        let token = format!("{}.{}", request.prefix, self.position.index);
        Ok(self.done(write, |revision| {
            let header = response::header(revision);
            Response::IssueToken(pb::AuthenticateResponse { header, token })
        }))
    }

    /// No key of the v3 API changes, and no revision. While auth is on, nobody has a right to it:
    /// its users are not those of the v2 API.
    fn v2_write(&self, request: &V2Write) -> Result<Effect, Error> {
        if Action::try_from(request.action).is_err() {
            return Err(Error::UnknownCommand);
        }
        let mut write = self.begin();
        let state = write.state_mut();
        let removes = matches!(request.action(), Action::Delete | Action::CompareAndDelete);
        if removes {
            refuse_all(state)?;
        } else {
            refuse_growth(state)?;
        }
        if state.auth.enabled() {
            return Err(Error::UserEmpty);
        }
        let outcome = state.v2.apply(request);
        self.shared.v2_counters.wrote(request.action(), outcome.is_ok());
        record_v2(&mut write);
        Ok(self.done(write, |_| Response::V2Write(outcome)))
    }

    fn v2_expire(&self, request: &V2Expire) -> Result<Effect, Error> {
        let mut write = self.begin();
        refuse_all(write.state())?;
        let events = write.state_mut().v2.expire(request);
        self.shared.v2_counters.expired(events.len() as u64);
        record_v2(&mut write);
        Ok(self.done(write, |_| Response::V2Expire(events)))
    }

    fn auth(&self, op: &Op) -> Result<Effect, Error> {
        let mut write = self.begin();
        Caller { state: write.state(), principal: self.principal }.may_administer()?;
        let auth = Arc::make_mut(&mut write.state_mut().auth);
        let mut answer = change_auth(auth, op)?;
        for (key, value) in auth.take_changes() {
            write.record(key, value);
        }
        set_header(&mut answer, write.state().revision);
        Ok(self.commit(write, Outcome::Done(answer)))
    }
}

/// CORRUPT refuses all that could change a key or be changed by one.
fn refuse_all(state: &State) -> Result<(), Error> {
    if state.alarms.is_raised(pb::AlarmType::Corrupt) { Err(Error::Corrupt) } else { Ok(()) }
}

/// NOSPACE refuses what makes the store larger.
fn refuse_growth(state: &State) -> Result<(), Error> {
    refuse_all(state)?;
    if state.alarms.is_raised(pb::AlarmType::Nospace) { Err(Error::NoSpace) } else { Ok(()) }
}

fn puts_something(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.any(|op| match &op.request {
        Some(pb::request_op::Request::RequestPut(_)) => true,
        Some(pb::request_op::Request::RequestTxn(nested)) => puts_something(nested),
        _ => false,
    })
}

fn record_v2(write: &mut Write) {
    for (key, value) in write.state_mut().v2.take_changes() {
        write.record(key, value);
    }
}

/// Deletes the keys of a lease, in their order, and the lease.
fn end_lease(write: &mut Write, id: i64) {
    let Some(lease) = write.state_mut().leases.remove(id) else { return };
    for key in lease.keys.iter().filter(|_| !planted::is(Mistake::LeaveLeaseKey)) {
        let deleted = write.delete(&KeyRange::new(key, &[]));
        assert_eq!(deleted.len(), 1, "what is attached to a lease exists");
    }
    write.calls.leases_revoked += 1;
    write.record(records::lease_key(id), None);
}

fn change_auth(auth: &mut AuthState, op: &Op) -> Result<Response, Error> {
    Ok(match op {
        Op::AuthEnable(request) => Response::AuthEnable(auth.enable(request)?),
        Op::AuthDisable(request) => Response::AuthDisable(auth.disable(request)),
        Op::UserAdd(request) => Response::UserAdd(auth.user_add(request)?),
        Op::UserChangePassword(request) => {
            Response::UserChangePassword(auth.user_change_password(request)?)
        }
        Op::UserDelete(request) => Response::UserDelete(auth.user_delete(request)?),
        Op::UserGrantRole(request) => Response::UserGrantRole(auth.user_grant_role(request)?),
        Op::UserRevokeRole(request) => Response::UserRevokeRole(auth.user_revoke_role(request)?),
        Op::RoleAdd(request) => Response::RoleAdd(auth.role_add(request)?),
        Op::RoleDelete(request) => Response::RoleDelete(auth.role_delete(request)?),
        Op::RoleGrantPermission(request) => {
            Response::RoleGrantPermission(auth.role_grant_permission(request)?)
        }
        Op::RoleRevokePermission(request) => {
            Response::RoleRevokePermission(auth.role_revoke_permission(request)?)
        }
        _ => unreachable!("the dispatch sends what concerns auth"),
    })
}

fn set_header(answer: &mut Response, revision: i64) {
    let header = match answer {
        Response::AuthEnable(answer) => &mut answer.header,
        Response::AuthDisable(answer) => &mut answer.header,
        Response::UserAdd(answer) => &mut answer.header,
        Response::UserChangePassword(answer) => &mut answer.header,
        Response::UserDelete(answer) => &mut answer.header,
        Response::UserGrantRole(answer) => &mut answer.header,
        Response::UserRevokeRole(answer) => &mut answer.header,
        Response::RoleAdd(answer) => &mut answer.header,
        Response::RoleDelete(answer) => &mut answer.header,
        Response::RoleGrantPermission(answer) => &mut answer.header,
        Response::RoleRevokePermission(answer) => &mut answer.header,
        _ => unreachable!("only answers of auth come here"),
    };
    *header = response::header(revision);
}
