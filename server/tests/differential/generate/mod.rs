//! Draws the steps of a run from a seed and from what the run has shown so far.
//!
//! The key space is small, so that steps meet each other. The generator knows only what the
//! reference answered; it never looks at the server under test.

mod auth;
mod dice;
mod kv;
mod lease;
mod world;

use std::collections::VecDeque;

use api::etcdserverpb::*;

use crate::call::{Action, Call, Caller, Step};
use crate::canonical::OWN_MEMBER;

pub(crate) use dice::Dice;
pub(crate) use kv::without_ranges;
pub(crate) use world::World;

/// Steps from a seed.
pub(crate) struct Generator {
    dice: Dice,
    /// Steps that have to come next, whatever the dice say.
    queue: VecDeque<Step>,
    pub world: World,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), queue: VecDeque::new(), world: World::default() }
    }

    /// The next step of the run.
    pub(crate) fn next_step(&mut self) -> Step {
        // Before anything else: a stale token of root's would be refused by 3.7 where 3.4 does
        // not look.
        self.queue.extend(self.world.take_logins());
        if let Some(step) = self.queue.pop_front() {
            return step;
        }
        let mut action = self.draw();
        let caller = self.caller_of(&action);
        let restricted = self.administrator() != caller;
        if let Action::Call(Call::Txn(txn)) = &mut action {
            // 3.4 asks neither quota nor permissions about nested transactions, nor about the
            // leases and previous values of a transaction's puts; 3.7 does.
            if restricted || !self.world.alarms.is_empty() {
                kv::flatten(txn);
            }
            if restricted {
                kv::ask_little_of_puts(txn);
            }
        }
        Step { caller, action }
    }

    fn draw(&mut self) -> Action {
        let Self { dice, world, .. } = self;
        if let Some(call) = way_back(dice, world) {
            return Action::Call(call);
        }
        match dice.below(1_000) {
            0..260 => Action::Call(Call::Range(kv::range(dice, world))),
            260..530 => Action::Call(Call::Put(kv::put(dice, world))),
            530..610 => Action::Call(Call::DeleteRange(kv::delete_range(dice))),
            610..800 => Action::Call(Call::Txn(kv::txn(dice, world))),
            800..880 => self.draw_lease(),
            880..887 => Action::Call(Call::Compact(kv::compact(dice, world))),
            887..910 => self.draw_watch(),
            910..925 => Action::Call(maintenance(dice, world)),
            925..930 => Action::SettleWatches,
            _ => Action::Call(auth::administration(dice, world)),
        }
    }

    fn draw_lease(&mut self) -> Action {
        let (action, follow_up) = lease::draw(&mut self.dice, &self.world);
        if let Some(call) = follow_up {
            let caller = self.administrator();
            self.queue.push_back(Step { caller, action: Action::Call(call) });
        }
        action
    }

    fn draw_watch(&mut self) -> Action {
        let Self { dice, world, .. } = self;
        if world.watchers.len() >= WATCHERS_MAX || (!world.watchers.is_empty() && dice.one_in(4)) {
            let at = dice.index(world.watchers.len());
            return Action::CancelWatch(world.watchers[at]);
        }
        Action::Watch(kv::watch(dice, world))
    }

    fn administrator(&self) -> Caller {
        if self.world.auth_enabled { Caller::User("root") } else { Caller::Nobody }
    }

    /// Under authentication the administrator makes most calls, and all those that etcd 3.4
    /// forgot to protect (see `differences`).
    fn caller_of(&mut self, action: &Action) -> Caller {
        if !self.world.auth_enabled || !is_protected(action) {
            return self.administrator();
        }
        if matches!(action, Action::Call(Call::Authenticate(_))) {
            // With a bad token 3.4 refuses even this; later etcds do not look at the token.
            return Caller::Nobody;
        }
        if !self.world.alarms.is_empty() {
            // While an alarm is raised, 3.4 forgets about permissions.
            return self.administrator();
        }
        if matches!(action, Action::Watch(watch) if watch.range_end[..] == [0]) {
            // 3.4 takes the permission for the first key for enough.
            return self.administrator();
        }
        match self.dice.below(100) {
            0..50 => self.administrator(),
            _ if matches!(action, Action::Call(Call::AuthDisable(_))) => self.administrator(),
            50..90 => Caller::User(self.dice.pick(auth::USERS)),
            90..96 => Caller::Nobody,
            _ => Caller::Forger,
        }
    }
}

/// More watchers than this would only repeat each other.
const WATCHERS_MAX: usize = 12;

/// Whether every etcd since 3.4.23 asks who makes this call.
fn is_protected(action: &Action) -> bool {
    match action {
        Action::Watch(_) => true,
        Action::Call(call) => !matches!(
            call,
            Call::Compact(_)
                | Call::LeaseGrant(_)
                | Call::LeaseRevoke(_)
                | Call::LeaseTimeToLive(_)
                | Call::LeaseLeases(_)
                | Call::MemberList(_)
                | Call::Alarm(_)
                | Call::Status(_)
                | Call::Defragment(_)
                | Call::Hash(_)
                | Call::HashKv(_)
                | Call::MoveLeader(_)
        ),
        _ => false,
    }
}

/// Now and then the end of an alarm or of authentication: under either most calls are refused.
fn way_back(dice: &mut Dice, world: &World) -> Option<Call> {
    if !world.alarms.is_empty() && dice.one_in(25) {
        let alarm = world.alarms[dice.index(world.alarms.len())];
        let (action, member_id) = (2, OWN_MEMBER);
        return Some(Call::Alarm(AlarmRequest { action, member_id, alarm }));
    }
    if world.auth_enabled && dice.one_in(150) {
        return Some(Call::AuthDisable(AuthDisableRequest {}));
    }
    None
}

fn maintenance(dice: &mut Dice, world: &World) -> Call {
    match dice.below(16) {
        0..3 => Call::Status(StatusRequest {}),
        3..5 => Call::MemberList(MemberListRequest { linearizable: dice.one_in(2) }),
        5..7 => alarm(0, dice, world),
        7 => alarm(1, dice, world),
        8 => alarm(2, dice, world),
        9 => Call::Defragment(DefragmentRequest {}),
        10 => Call::Hash(HashRequest {}),
        11..15 => Call::HashKv(HashKvRequest { revision: kv::revision(dice, world) }),
        _ => Call::MoveLeader(MoveLeaderRequest { target_id: dice.pick(&[OWN_MEMBER, 7]) }),
    }
}

/// `action` as in the protocol: 0 asks, 1 raises, 2 disarms. Only one alarm is raised at a time:
/// when one of two is disarmed, 3.4 forgets the other.
fn alarm(action: i32, dice: &mut Dice, world: &World) -> Call {
    let alarm = match action {
        0 => dice.pick(&[0, 1, 2]),
        1 if !world.alarms.is_empty() => world.alarms[0],
        _ => dice.pick(&[1, 1, 2]),
    };
    Call::Alarm(AlarmRequest { action, member_id: OWN_MEMBER, alarm })
}
