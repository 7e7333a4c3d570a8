//! Lease calls.

use api::etcdserverpb::*;

use super::{Dice, World};
use crate::call::{Action, Call};

/// No lease of a run expires within it.
const TTL_S_MIN: i64 = 5_000;
/// etcd's own bound, and the first number above it.
const TTL_S_MAX: i64 = 9_000_000_000;

/// A lease id: mostly a live one, else one that does not exist.
pub(super) fn any(dice: &mut Dice, world: &World) -> i64 {
    if world.leases.is_empty() || dice.one_in(12) {
        return dice.between(900, 902);
    }
    world.leases[dice.index(world.leases.len())]
}

/// A lease call, and a call that has to follow it at once.
pub(super) fn draw(dice: &mut Dice, world: &World) -> (Action, Option<Call>) {
    let call = match dice.below(100) {
        0..35 => return grant(dice),
        35..50 => Call::LeaseRevoke(LeaseRevokeRequest { id: any(dice, world) }),
        50..65 => return (Action::KeepAlive(any(dice, world)), None),
        65..90 => {
            let keys = dice.one_in(2);
            Call::LeaseTimeToLive(LeaseTimeToLiveRequest { id: any(dice, world), keys })
        }
        _ => Call::LeaseLeases(LeaseLeasesRequest {}),
    };
    (Action::Call(call), None)
}

fn grant(dice: &mut Dice) -> (Action, Option<Call>) {
    let grant = |ttl, id| Action::Call(Call::LeaseGrant(LeaseGrantRequest { ttl, id }));
    // A live lease soon has one of these ids, so grants meet each other.
    let id = if dice.one_in(2) { 0 } else { dice.between(1, 40) };
    match dice.below(12) {
        // Raised to the least TTL, about 2 s: so it must go before it can expire.
        0 => {
            let revoke = Call::LeaseRevoke(LeaseRevokeRequest { id: SHORT_LEASE });
            (grant(dice.between(-1, 1), SHORT_LEASE), Some(revoke))
        }
        1 => (grant(TTL_S_MAX + dice.between(0, 1), id), None),
        _ => (grant(dice.between(TTL_S_MIN, 3 * TTL_S_MIN), id), None),
    }
}

/// The id of leases that are granted only to see their TTL. Never in [`World::leases`] for long.
const SHORT_LEASE: i64 = 77;
