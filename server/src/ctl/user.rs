//! user add, delete, get, list, passwd, grant-role and revoke-role.

use std::io::BufRead;

use api::authpb::UserAddOptions;
use api::etcdserverpb::{
    AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserListRequest,
    AuthUserRevokeRoleRequest,
};
use clap::{ArgAction, Args, Subcommand};

use super::args::Format;
use super::connect::{Session, read_password};
use super::failure::{Failure, Outcome};
use super::output::{json, unsupported};
use super::role;

#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Adds a new user
    Add {
        /// user name or user:password
        name: Vec<String>,
        #[command(flatten)]
        source: PasswordSource,
        /// Supply password from the command line flag
        #[arg(long)]
        new_user_password: Option<String>,
        /// Create a user without password (CN based auth only)
        #[arg(long)]
        no_password: bool,
    },
    /// Deletes a user
    Delete { name: Vec<String> },
    /// Gets detailed information of a user
    Get {
        name: Vec<String>,
        /// Show permissions of roles granted to the user
        #[arg(long)]
        detail: bool,
    },
    /// Lists all users
    List,
    /// Changes password of user
    Passwd {
        name: Vec<String>,
        #[command(flatten)]
        source: PasswordSource,
    },
    /// Grants a role to a user
    GrantRole { words: Vec<String> },
    /// Revokes a role from a user
    RevokeRole { words: Vec<String> },
}

#[derive(Debug, Args)]
pub(super) struct PasswordSource {
    /// If true, ask for the password on the terminal, else read a line of standard input
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    interactive: bool,
}

pub(super) async fn user(verb: UserVerb, session: &mut Session) -> Outcome {
    match verb {
        UserVerb::Add { name, source, new_user_password, no_password } => {
            add(name, &source, new_user_password, no_password, session).await
        }
        UserVerb::Delete { name } => delete(one(name, "user delete")?, session).await,
        UserVerb::Get { name, detail } => get(one(name, "user get")?, detail, session).await,
        UserVerb::List => list(session).await,
        UserVerb::Passwd { name, source } => {
            change_password(one(name, "user passwd")?, &source, session).await
        }
        UserVerb::GrantRole { words } => grant_role(words, session).await,
        UserVerb::RevokeRole { words } => revoke_role(words, session).await,
    }
}

fn one(words: Vec<String>, verb: &str) -> Result<String, Failure> {
    match <[String; 1]>::try_from(words) {
        Ok([name]) => Ok(name),
        Err(_) => {
            Err(Failure::bad_args(format!("{verb} command requires user name as its argument")))
        }
    }
}

fn user_and_role(words: Vec<String>, verb: &str) -> Result<[String; 2], Failure> {
    words.try_into().map_err(|_| {
        Failure::bad_args(format!(
            "{verb} command requires user name and role name as its argument"
        ))
    })
}

async fn add(
    words: Vec<String>,
    source: &PasswordSource,
    password: Option<String>,
    no_password: bool,
    session: &Session,
) -> Outcome {
    let word = one(words, "user add")?;
    let (name, password) = match (no_password, password, word.split_once(':')) {
        (true, _, _) => (word, String::new()),
        (_, Some(password), _) => (word, password),
        (_, None, Some((name, password))) => (name.to_owned(), password.to_owned()),
        (_, None, None) => {
            let password = source.read(&word)?;
            (word, password)
        }
    };
    let created = format!("User {name} created");
    let options = Some(UserAddOptions { no_password });
    let request = AuthUserAddRequest { name, password, options, ..AuthUserAddRequest::default() };
    let mut client = session.auth().await?;
    let response = session.call(client.user_add(request)).await?;
    session.out.done(&created, response.header.as_ref())
}

impl PasswordSource {
    /// A new password: asked twice on a terminal, or one line of standard input.
    fn read(&self, user: &str) -> Result<String, Failure> {
        if !self.interactive {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| Failure::io("cannot read the password", &error))?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        let first = read_password(&format!("Password of {user}: "))?;
        let again = read_password(&format!("Type password of {user} again for confirmation: "))?;
        if first != again {
            return Err(Failure::bad_args("given passwords are different"));
        }
        Ok(first)
    }
}

async fn delete(name: String, session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let deleted = format!("User {name} deleted");
    let response = session.call(client.user_delete(AuthUserDeleteRequest { name })).await?;
    session.out.done(&deleted, response.header.as_ref())
}

async fn get(name: String, detail: bool, session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let request = AuthUserGetRequest { name: name.clone() };
    let user = session.call(client.user_get(request)).await?;
    if !detail {
        return print_user(&name, &user, session);
    }
    println!("User: {name}");
    for role in user.roles {
        println!();
        let request = AuthRoleGetRequest { role: role.clone() };
        let response = session.call(client.role_get(request)).await?;
        role::print(&role, &response, session)?;
    }
    Ok(())
}

fn print_user(name: &str, user: &AuthUserGetResponse, session: &Session) -> Outcome {
    match session.out.format {
        Format::Simple => {
            println!("User: {name}");
            let roles: String = user.roles.iter().map(|role| format!(" {role}")).collect();
            println!("Roles:{roles}");
        }
        Format::Json => json::print(&json::object([
            ("header", json::header(user.header.as_ref())),
            ("roles", user.roles.clone().into()),
        ])),
        Format::Fields => return Err(no_fields()),
        Format::Table => return Err(unsupported(Format::Table)),
    }
    Ok(())
}

fn no_fields() -> Failure {
    Failure::bad_feature("fields not supported as output format")
}

async fn list(session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let response = session.call(client.user_list(AuthUserListRequest {})).await?;
    match session.out.format {
        Format::Simple => response.users.iter().for_each(|user| println!("{user}")),
        Format::Json => json::print(&json::object([
            ("header", json::header(response.header.as_ref())),
            ("users", response.users.into()),
        ])),
        Format::Fields => return Err(no_fields()),
        Format::Table => return Err(unsupported(Format::Table)),
    }
    Ok(())
}

async fn change_password(name: String, source: &PasswordSource, session: &Session) -> Outcome {
    let password = source.read(&name)?;
    let request = AuthUserChangePasswordRequest {
        name,
        password,
        ..AuthUserChangePasswordRequest::default()
    };
    let mut client = session.auth().await?;
    let response = session.call(client.user_change_password(request)).await?;
    session.out.done("Password updated", response.header.as_ref())
}

async fn grant_role(words: Vec<String>, session: &Session) -> Outcome {
    let [user, role] = user_and_role(words, "user grant-role")?;
    let granted = format!("Role {role} is granted to user {user}");
    let mut client = session.auth().await?;
    let request = AuthUserGrantRoleRequest { user, role };
    let response = session.call(client.user_grant_role(request)).await?;
    session.out.done(&granted, response.header.as_ref())
}

async fn revoke_role(words: Vec<String>, session: &Session) -> Outcome {
    let [name, role] = user_and_role(words, "user revoke-role")?;
    let revoked = format!("Role {role} is revoked from user {name}");
    let mut client = session.auth().await?;
    let request = AuthUserRevokeRoleRequest { name, role };
    let response = session.call(client.user_revoke_role(request)).await?;
    session.out.done(&revoked, response.header.as_ref())
}
