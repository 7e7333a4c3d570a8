//! role add, delete, get, list, grant-permission and revoke-permission.

use api::authpb::Permission;
use api::authpb::permission::Type;
use api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};
use bytes::Bytes;
use clap::{Args, Subcommand};

use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::output::{fields, json, simple};
use super::range;

#[derive(Debug, Subcommand)]
pub(super) enum RoleVerb {
    /// Adds a new role
    Add { name: Vec<String> },
    /// Deletes a role
    Delete { name: Vec<String> },
    /// Gets detailed information of a role
    Get { name: Vec<String> },
    /// Lists all roles
    List,
    /// Grants a key to a role
    GrantPermission {
        /// role name, permission type, key, and optionally the end of a range
        words: Vec<String>,
        #[command(flatten)]
        range: RangeFlags,
    },
    /// Revokes a key from a role
    RevokePermission {
        /// role name, key, and optionally the end of a range
        words: Vec<String>,
        #[command(flatten)]
        range: RangeFlags,
    },
}

#[derive(Debug, Args)]
pub(super) struct RangeFlags {
    /// a permission on everything that begins with the key
    #[arg(long)]
    prefix: bool,
    /// a permission on keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
}

pub(super) async fn role(verb: RoleVerb, session: &mut Session) -> Outcome {
    match verb {
        RoleVerb::Add { name } => add(one(name, "role add")?, session).await,
        RoleVerb::Delete { name } => delete(one(name, "role delete")?, session).await,
        RoleVerb::Get { name } => get(one(name, "role get")?, session).await,
        RoleVerb::List => list(session).await,
        RoleVerb::GrantPermission { words, range } => grant(words, &range, session).await,
        RoleVerb::RevokePermission { words, range } => revoke(words, &range, session).await,
    }
}

fn one(words: Vec<String>, verb: &str) -> Result<String, Failure> {
    match <[String; 1]>::try_from(words) {
        Ok([name]) => Ok(name),
        Err(_) => {
            Err(Failure::bad_args(format!("{verb} command requires role name as its argument")))
        }
    }
}

/// Prints a role, also for `user get --detail`.
pub(super) fn print(name: &str, response: &AuthRoleGetResponse, session: &Session) -> Outcome {
    session.out.print(
        || simple::role(name, response),
        || fields::role(response),
        || {
            json::object([
                ("header", json::header(response.header.as_ref())),
                ("perm", response.perm.iter().map(json::permission).collect()),
            ])
        },
    )
}

async fn add(name: String, session: &Session) -> Outcome {
    let created = format!("Role {name} created");
    let mut client = session.auth().await?;
    let response = session.call(client.role_add(AuthRoleAddRequest { name })).await?;
    session.out.done(&created, response.header.as_ref())
}

async fn delete(role: String, session: &Session) -> Outcome {
    let deleted = format!("Role {role} deleted");
    let mut client = session.auth().await?;
    let response = session.call(client.role_delete(AuthRoleDeleteRequest { role })).await?;
    session.out.done(&deleted, response.header.as_ref())
}

async fn get(name: String, session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let request = AuthRoleGetRequest { role: name.clone() };
    let response = session.call(client.role_get(request)).await?;
    print(&name, &response, session)
}

async fn list(session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let response = session.call(client.role_list(AuthRoleListRequest {})).await?;
    session.out.print(
        || response.roles.iter().for_each(|role| println!("{role}")),
        || fields::roles(&response),
        || {
            json::object([
                ("header", json::header(response.header.as_ref())),
                ("roles", response.roles.clone().into()),
            ])
        },
    )
}

async fn grant(words: Vec<String>, flags: &RangeFlags, session: &Session) -> Outcome {
    let mut words = words.into_iter();
    let (Some(name), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
        return Err(Failure::bad_args(
            "role grant command requires role name, permission type, and key [endkey] as its argument",
        ));
    };
    let permission_type = match kind.to_uppercase().as_str() {
        "READ" => Type::Read,
        "WRITE" => Type::Write,
        "READWRITE" => Type::Readwrite,
        _ => return Err(Failure::bad_args(format!("invalid permission type: {kind}"))),
    };
    let (key, range_end) = key_range(key, words, flags)?;
    let perm = Permission { perm_type: permission_type.into(), key, range_end };
    let updated = format!("Role {name} updated");
    let mut client = session.auth().await?;
    let request = AuthRoleGrantPermissionRequest { name, perm: Some(perm) };
    let response = session.call(client.role_grant_permission(request)).await?;
    session.out.done(&updated, response.header.as_ref())
}

async fn revoke(words: Vec<String>, flags: &RangeFlags, session: &Session) -> Outcome {
    let mut words = words.into_iter();
    let (Some(role), Some(key)) = (words.next(), words.next()) else {
        return Err(Failure::bad_args(
            "role revoke-permission command requires role name and key [endkey] as its argument",
        ));
    };
    let (key, range_end) = key_range(key, words, flags)?;
    let what = if range_end.is_empty() { "key" } else { "range" };
    let range = simple::key_range(&key, &range_end);
    let revoked = format!("Permission of {what} {range} is revoked from role {role}");
    let mut client = session.auth().await?;
    let request = AuthRoleRevokePermissionRequest { role, key, range_end };
    let response = session.call(client.role_revoke_permission(request)).await?;
    session.out.done(&revoked, response.header.as_ref())
}

/// Key and range end from a key, an optional end and the two range flags.
fn key_range(
    key: String,
    mut rest: impl Iterator<Item = String>,
    flags: &RangeFlags,
) -> Result<(Bytes, Bytes), Failure> {
    let key = Bytes::from(key);
    match (rest.next(), rest.next(), flags.prefix, flags.from_key) {
        (None, _, true, false) => Ok(range::prefix(key)),
        (None, _, false, true) => Ok(range::from_key(key)),
        (end, None, false, false) => Ok((key, end.map(Bytes::from).unwrap_or_default())),
        (None, _, true, true) => Err(Failure::bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        )),
        _ => Err(Failure::bad_args("unexpected endkey argument with --prefix or --from-key flag")),
    }
}
