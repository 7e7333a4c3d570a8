//! What the generator knows of the run: only what the reference has answered.

use std::collections::BTreeMap;

use api::etcdserverpb::AuthenticateRequest;

use super::auth;
use crate::call::{Action, Answer, Call, Caller, Reply, Step};

/// The state that makes the next steps meaningful.
#[derive(Default)]
pub(crate) struct World {
    /// The store's revision, from the last header.
    pub revision: i64,
    /// The last compacted revision, 0 for none.
    pub compacted: i64,
    /// Live leases, in canonical ids.
    pub leases: Vec<i64>,
    /// Watchers that exist on both sides.
    pub watchers: Vec<i64>,
    pub auth_enabled: bool,
    /// The alarms that are raised.
    pub alarms: Vec<i32>,
    /// The password of each user that has one.
    pub passwords: BTreeMap<String, String>,
    /// How many permissions each role has been granted, at most.
    pub grants: BTreeMap<String, usize>,
    needs_login: bool,
}

impl World {
    /// Learns from the answer to a step.
    pub(crate) fn observe(&mut self, step: &Step, answer: &mut Answer) {
        let Action::Call(call) = &step.action else { return };
        match answer {
            Ok(reply) => {
                if let Some(header) = reply.header_mut() {
                    self.revision = header.revision.max(self.revision);
                }
                self.learn(call, reply);
            }
            Err(refusal) => {
                // root has lost its token (a new password, say): without it nothing can be
                // administered and the run would be stuck.
                let root = step.caller == Caller::User("root");
                self.needs_login |=
                    root && self.auth_enabled && refusal.code == tonic::Code::Unauthenticated;
            }
        }
    }

    fn learn(&mut self, call: &Call, reply: &Reply) {
        match (call, reply) {
            (Call::Compact(request), _) => self.compacted = request.revision,
            (_, Reply::LeaseGrant(reply)) => self.leases.push(reply.id),
            (Call::LeaseRevoke(request), _) => self.leases.retain(|lease| *lease != request.id),
            (Call::Alarm(request), _) if request.action != 0 => {
                self.alarms.retain(|alarm| *alarm != request.alarm);
                if request.action == 1 {
                    self.alarms.push(request.alarm);
                }
            }
            (Call::AuthEnable(_), _) => {
                self.auth_enabled = true;
                self.needs_login = true;
            }
            (Call::AuthDisable(_), _) => self.auth_enabled = false,
            (Call::UserAdd(request), _) => {
                self.passwords.insert(request.name.clone(), request.password.clone());
            }
            (Call::UserChangePassword(request), _) => {
                self.passwords.insert(request.name.clone(), request.password.clone());
                self.needs_login |= self.auth_enabled && request.name == "root";
            }
            (Call::RoleGrantPermission(request), _) => {
                *self.grants.entry(request.name.clone()).or_default() += 1;
            }
            (Call::RoleDelete(request), _) => {
                self.grants.remove(&request.role);
            }
            (Call::UserDelete(request), _) => {
                self.passwords.remove(&request.name);
            }
            _ => {}
        }
    }

    /// The logins that are due: root first, then everybody whose password is known.
    pub(crate) fn take_logins(&mut self) -> Vec<Step> {
        if !std::mem::take(&mut self.needs_login) {
            return Vec::new();
        }
        let users = std::iter::once("root").chain(auth::USERS.iter().copied());
        users
            .filter_map(|user| {
                let password = self.passwords.get(user)?.clone();
                let request = AuthenticateRequest { name: user.to_owned(), password };
                let action = Action::Call(Call::Authenticate(request));
                Some(Step { caller: Caller::Nobody, action })
            })
            .collect()
    }
}
