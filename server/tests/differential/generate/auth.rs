//! Users, roles, permissions, and turning authentication on and off.

use api::authpb::{Permission, UserAddOptions};
use api::etcdserverpb::*;

use super::{Dice, World, kv};
use crate::call::Call;

/// Those who make calls, beside root.
pub(super) const USERS: &[&str] = &["alice", "bob"];

const NAMES: &[&str] = &["root", "alice", "bob", "carol"];
const ROLES: &[&str] = &["root", "reader", "writer", "other"];
const PASSWORDS: &[&str] = &["one", "two"];

pub(super) fn administration(dice: &mut Dice, world: &World) -> Call {
    match dice.below(100) {
        0..12 => Call::UserAdd(user_add(dice)),
        12..20 => Call::RoleAdd(AuthRoleAddRequest { name: role(dice) }),
        20..36 => {
            Call::UserGrantRole(AuthUserGrantRoleRequest { user: user(dice), role: role(dice) })
        }
        36..54 => grant_permission(dice, world),
        54..58 => Call::RoleRevokePermission(revoke_permission(dice)),
        58..61 => {
            Call::UserRevokeRole(AuthUserRevokeRoleRequest { name: user(dice), role: role(dice) })
        }
        61..63 => Call::UserDelete(AuthUserDeleteRequest { name: user(dice) }),
        63..65 => Call::RoleDelete(AuthRoleDeleteRequest { role: role(dice) }),
        65..70 => Call::UserGet(AuthUserGetRequest { name: user(dice) }),
        70..75 => Call::RoleGet(AuthRoleGetRequest { role: role(dice) }),
        75..78 => Call::UserList(AuthUserListRequest {}),
        78..81 => Call::RoleList(AuthRoleListRequest {}),
        81..84 => Call::UserChangePassword(change_password(dice)),
        84..90 => Call::Authenticate(authenticate(dice, world)),
        90..97 => Call::AuthEnable(AuthEnableRequest {}),
        97..99 => Call::AuthStatus(AuthStatusRequest {}),
        _ => Call::AuthDisable(AuthDisableRequest {}),
    }
}

fn user(dice: &mut Dice) -> String {
    if dice.one_in(30) { "nobody".to_owned() } else { dice.pick(NAMES).to_owned() }
}

fn role(dice: &mut Dice) -> String {
    if dice.one_in(30) { "nothing".to_owned() } else { dice.pick(ROLES).to_owned() }
}

fn user_add(dice: &mut Dice) -> AuthUserAddRequest {
    let name = if dice.one_in(20) { String::new() } else { dice.pick(NAMES).to_owned() };
    // root needs a password, or nobody could ever turn authentication off.
    let no_password = name == "carol" && dice.one_in(2);
    let password = if no_password { "" } else { dice.pick(PASSWORDS) };
    AuthUserAddRequest {
        name,
        password: password.to_owned(),
        options: (no_password || dice.one_in(4)).then_some(UserAddOptions { no_password }),
        ..Default::default()
    }
}

fn change_password(dice: &mut Dice) -> AuthUserChangePasswordRequest {
    AuthUserChangePasswordRequest {
        name: user(dice),
        password: dice.pick(PASSWORDS).to_owned(),
        ..Default::default()
    }
}

fn authenticate(dice: &mut Dice, world: &World) -> AuthenticateRequest {
    let name = user(dice);
    let known = world.passwords.get(&name).filter(|_| !dice.one_in(4)).cloned();
    AuthenticateRequest { name, password: known.unwrap_or_else(|| "wrong".to_owned()) }
}

/// A role with more permissions than this is sorted by Go's unstable sort, so that etcd shows
/// them in no order (and then confuses those with the same key).
const GRANTS_MAX: usize = 12;

fn grant_permission(dice: &mut Dice, world: &World) -> Call {
    let name = role(dice);
    if world.grants.get(&name).is_some_and(|count| *count >= GRANTS_MAX) {
        return Call::RoleDelete(AuthRoleDeleteRequest { role: name });
    }
    // Since 3.6 an empty key and a range that holds nothing are refused; 3.4 takes both.
    let (key, range_end) = loop {
        let (key, end) = kv::span(dice);
        if !key.is_empty() && (end.is_empty() || end == [0] || key < &end[..]) {
            break (key, end);
        }
    };
    let perm = Permission {
        perm_type: dice.pick(&[0, 1, 2]),
        key: key.into(),
        range_end: range_end.into(),
    };
    Call::RoleGrantPermission(AuthRoleGrantPermissionRequest { name, perm: Some(perm) })
}

fn revoke_permission(dice: &mut Dice) -> AuthRoleRevokePermissionRequest {
    let (key, range_end) = kv::span(dice);
    AuthRoleRevokePermissionRequest {
        role: role(dice),
        key: key.into(),
        range_end: range_end.into(),
    }
}
