//! Transcripts of a real etcd (`store/testdata/auth`, recorded by `record.py` there), and what
//! etcd cannot show: records, and where berth follows a later version.

use std::collections::BTreeMap;

use api::authpb::{Permission, UserAddOptions, permission::Type};
use api::berthpb::Principal;
use api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
};
use bytes::Bytes;

use super::{Access, AuthState};
use crate::Error;

macro_rules! transcripts {
    ($($name:ident: $file:literal,)*) => {
        $(#[test] fn $name() {
            replay(include_str!(concat!("../../testdata/auth/", $file)));
        })*
    };
}

transcripts! {
    root: "root.txt",
    permissions: "permissions.txt",
    random_1: "random-1.txt",
    random_2: "random-2.txt",
    random_3: "random-3.txt",
}

/// Every answer and every auth revision is the one that etcd gave, and at each step the records
/// say all that the state says.
fn replay(transcript: &str) {
    let mut state = AuthState::default();
    let mut records = BTreeMap::new();
    for (number, line) in (1..).zip(transcript.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (request, answer) = line.split_once(" -> ").unwrap();
        let words: Vec<_> = request.split(' ').map(unquote).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let answered = if answer.starts_with("cannot come") {
            assert_eq!(state.password_hash(words[0]), None, "line {number}");
            continue;
        } else {
            run(&mut state, words[0], &words[1..])
        };
        assert_eq!(format!("{answered} @{}", state.revision()), answer, "line {number}: {request}");
        follow(&mut records, &mut state);
        assert_eq!(AuthState::load(records.clone()).unwrap(), state, "line {number}: {request}");
    }
}

/// Applies to `records` what `state` says has changed.
fn follow(records: &mut BTreeMap<Bytes, Bytes>, state: &mut AuthState) {
    for (key, value) in state.take_changes() {
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
    }
}

fn unquote(word: &str) -> String {
    if word == "\"\"" { String::new() } else { word.replace("\\0", "\0") }
}

fn quote(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap().replace('\0', "\\0");
    if text.is_empty() { "\"\"".to_owned() } else { text }
}

fn run(state: &mut AuthState, caller: &str, words: &[&str]) -> String {
    let principal = Principal { user: caller.to_owned(), auth_revision: state.revision() };
    let principal = (caller != "-").then_some(&principal);
    match ask(state, principal, words) {
        Ok(None) => change(state, principal, words).unwrap_or_else(|error| text(&error).to_owned()),
        Ok(Some(answer)) => answer,
        Err(error) => text(&error).to_owned(),
    }
}

/// The answer to what changes nothing; `None` if `words` is a change.
fn ask(
    state: &AuthState,
    principal: Option<&Principal>,
    words: &[&str],
) -> Result<Option<String>, Error> {
    Ok(Some(match *words {
        ["read", key, end] => {
            state.check_range(principal, key.as_bytes(), end.as_bytes(), Access::Read)?;
            "ok".to_owned()
        }
        ["write", key, end] => {
            state.check_range(principal, key.as_bytes(), end.as_bytes(), Access::Write)?;
            "ok".to_owned()
        }
        ["user-get", name] => {
            state.check_user_get(principal, name)?;
            list(&state.user_get(&AuthUserGetRequest { name: name.into() })?.roles)
        }
        ["role-get", role] => {
            state.check_role_get(principal, role)?;
            let granted = state.role_get(&AuthRoleGetRequest { role: role.into() })?.perm;
            list(&granted.iter().map(permission).collect::<Vec<_>>())
        }
        ["user-list"] => {
            state.check_admin(principal)?;
            list(&state.user_list().users)
        }
        ["role-list"] => {
            state.check_admin(principal)?;
            list(&state.role_list().roles)
        }
        _ => return Ok(None),
    }))
}

fn change(
    state: &mut AuthState,
    principal: Option<&Principal>,
    words: &[&str],
) -> Result<String, Error> {
    state.check_admin(principal)?;
    match *words {
        ["enable"] => drop(state.enable(&AuthEnableRequest {})?),
        ["disable"] => drop(state.disable(&AuthDisableRequest {})),
        ["user-add", name] => drop(state.user_add(&user(name, false))?),
        ["user-add", name, "no-password"] => drop(state.user_add(&user(name, true))?),
        ["user-delete", name] => {
            state.user_delete(&AuthUserDeleteRequest { name: name.into() })?;
        }
        ["user-passwd", name] => drop(state.user_change_password(&password(name, "hash"))?),
        ["user-grant", user, role] => {
            let (user, role) = (user.into(), role.into());
            state.user_grant_role(&AuthUserGrantRoleRequest { user, role })?;
        }
        ["user-revoke", name, role] => {
            let (name, role) = (name.into(), role.into());
            state.user_revoke_role(&AuthUserRevokeRoleRequest { name, role })?;
        }
        ["role-add", name] => drop(state.role_add(&AuthRoleAddRequest { name: name.into() })?),
        ["role-delete", role] => {
            state.role_delete(&AuthRoleDeleteRequest { role: role.into() })?;
        }
        ["role-grant", role, kind, key, end] => {
            state.role_grant_permission(&grant(role, kind, key, end))?;
        }
        ["role-revoke", role, key, end] => {
            let (key, range_end) = (bytes(key), bytes(end));
            let request = AuthRoleRevokePermissionRequest { role: role.into(), key, range_end };
            state.role_revoke_permission(&request)?;
        }
        _ => panic!("no such operation: {words:?}"),
    }
    Ok("ok".to_owned())
}

fn user(name: &str, no_password: bool) -> AuthUserAddRequest {
    AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password: "hash".to_owned(),
        options: no_password.then_some(UserAddOptions { no_password }),
        ..AuthUserAddRequest::default()
    }
}

fn password(name: &str, hash: &str) -> AuthUserChangePasswordRequest {
    AuthUserChangePasswordRequest {
        name: name.to_owned(),
        hashed_password: hash.to_owned(),
        ..AuthUserChangePasswordRequest::default()
    }
}

fn grant(role: &str, kind: &str, key: &str, end: &str) -> AuthRoleGrantPermissionRequest {
    let perm_type = Type::from_str_name(&kind.to_uppercase()).unwrap() as i32;
    let perm = Permission { perm_type, key: bytes(key), range_end: bytes(end) };
    AuthRoleGrantPermissionRequest { name: role.to_owned(), perm: Some(perm) }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

fn permission(p: &Permission) -> String {
    let kind = p.perm_type().as_str_name().to_lowercase();
    format!("{kind}:{}:{}", quote(&p.key), quote(&p.range_end))
}

/// etcd's texts, as the transcripts have them.
fn text(error: &Error) -> &'static str {
    match error {
        Error::RootUserNotExist => "root user does not exist",
        Error::RootRoleNotExist => "root user does not have root role",
        Error::UserExists => "user name already exists",
        Error::UserEmpty => "user name is empty",
        Error::UserNotFound => "user name not found",
        Error::RoleExists => "role name already exists",
        Error::RoleNotFound => "role name not found",
        Error::RoleEmpty => "role name is empty",
        Error::PermissionDenied => "permission denied",
        Error::RoleNotGranted => "role is not granted to the user",
        Error::PermissionNotGranted => "permission is not granted to the role",
        Error::InvalidAuthManagement => "invalid auth management",
        other => panic!("no transcript has {other:?}"),
    }
}

/// A state with auth on, `root`, and `ann` who may read `k` by the role `r`.
fn enabled() -> AuthState {
    let mut state = AuthState::default();
    for words in [
        &["user-add", "root"][..],
        &["user-grant", "root", "root"],
        &["user-add", "ann"],
        &["role-add", "r"],
        &["role-grant", "r", "read", "k", ""],
        &["user-grant", "ann", "r"],
        &["enable"],
    ] {
        assert_eq!(run(&mut state, "-", words), "ok");
    }
    state
}

fn read(state: &AuthState, user: &str, auth_revision: u64) -> Result<(), Error> {
    let principal = Principal { user: user.to_owned(), auth_revision };
    state.check_range(Some(&principal), b"k", b"", Access::Read)
}

/// A token outlives no change of auth, a token from the future passes, and none is nobody's.
#[test]
fn a_principal_of_an_older_revision_is_refused() {
    let mut state = enabled();
    let revision = state.revision();
    assert_eq!(read(&state, "ann", revision), Ok(()));
    assert_eq!(read(&state, "root", revision), Ok(()));
    assert_eq!(read(&state, "ann", revision + 1), Ok(()));
    assert_eq!(run(&mut state, "root", &["role-add", "unrelated"]), "ok");
    assert_eq!(read(&state, "ann", revision), Err(Error::AuthOldRevision));
    assert_eq!(read(&state, "root", revision), Err(Error::AuthOldRevision));
    assert_eq!(read(&state, "ann", 0), Err(Error::UserEmpty));
    assert_eq!(read(&state, "gone", state.revision()), Err(Error::PermissionDenied));
    assert_eq!(state.check_range(None, b"k", b"", Access::Read), Err(Error::UserEmpty));
    assert_eq!(run(&mut state, "root", &["disable"]), "ok");
    assert_eq!(read(&state, "ann", 0), Ok(()));
}

/// Admin calls ask for the role, not for the age of the token.
#[test]
fn admin_checks_ignore_the_revision() {
    let state = enabled();
    let admin = |user: &str| {
        state.check_admin(Some(&Principal { user: user.to_owned(), auth_revision: 1 }))
    };
    assert_eq!(admin("root"), Ok(()));
    assert_eq!(admin("ann"), Err(Error::PermissionDenied));
    assert_eq!(admin("gone"), Err(Error::UserNotFound));
    assert_eq!(admin(""), Err(Error::UserEmpty));
    assert_eq!(state.check_admin(None), Err(Error::UserEmpty));
}

/// A permission that names no key is refused before anything else is looked at, as etcd 3.7 does
/// (3.4 takes it, and crashes on none at all).
#[test]
fn permissions_must_name_a_key() {
    let mut state = enabled();
    let before = state.clone();
    let mut none = grant("nosuch", "read", "k", "");
    none.perm = None;
    assert_eq!(state.role_grant_permission(&none), Err(Error::PermissionNotGiven));
    for (key, end) in [("", ""), ("", "z"), ("", "\0"), ("b", "a"), ("b", "b")] {
        let outcome = state.role_grant_permission(&grant("nosuch", "read", key, end));
        assert_eq!(outcome, Err(Error::InvalidAuthManagement), "{key:?} {end:?}");
    }
    assert_eq!(state, before);
}

/// The hash given with the command is the one to compare with, and a user without a password
/// never gets one.
#[test]
fn password_hashes_are_kept_as_given() {
    let mut state = enabled();
    assert_eq!(state.password_hash("ann"), Some("hash"));
    state.user_change_password(&password("ann", "$2b$other")).unwrap();
    assert_eq!(state.password_hash("ann"), Some("$2b$other"));
    assert_eq!(state.password_hash("gone"), None);
    state.user_add(&user("cert", true)).unwrap();
    assert_eq!(state.password_hash("cert"), Some(""));
    state.user_change_password(&password("cert", "$2b$other")).unwrap();
    assert_eq!(state.password_hash("cert"), Some(""));
}

/// What is dumped loads as the same state, whatever the order.
#[test]
fn records_hold_everything() {
    let mut state = enabled();
    state.take_changes();
    let mut records: Vec<_> = state.records().collect();
    assert!(records.is_sorted() && records.iter().all(|(key, _)| key.starts_with(super::PREFIX)));
    records.reverse();
    assert_eq!(AuthState::load(records).unwrap(), state);
    assert_eq!(AuthState::load([]).unwrap(), AuthState::default());
}

/// A record that berth did not write is an error, not a user.
#[test]
fn damaged_records_are_refused() {
    let state = enabled();
    for (key, value) in state.records() {
        let refused = |key: &[u8], value: &[u8]| {
            let record = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            assert!(matches!(AuthState::load([record]), Err(Error::Engine(_))), "{key:?}");
        };
        refused(&key, &value[..value.len() - 1]);
        refused(&[&key, &b"x"[..]].concat(), &value);
        refused(b"ax", &value);
        refused(b"", &value);
    }
}
