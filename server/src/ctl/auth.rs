//! auth enable, disable and status.

use api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest,
    AuthUserGrantRoleRequest,
};
use clap::Subcommand;

use super::connect::Session;
use super::failure::Outcome;
use super::output::fields::field;
use super::output::{fields, json};

#[derive(Debug, Subcommand)]
pub(super) enum AuthVerb {
    /// Enables authentication
    Enable,
    /// Disables authentication
    Disable,
    /// Returns authentication status
    Status,
}

const ROOT: &str = "root";

pub(super) async fn auth(verb: &AuthVerb, session: &mut Session) -> Outcome {
    match verb {
        AuthVerb::Enable => enable(session).await,
        AuthVerb::Disable => disable(session).await,
        AuthVerb::Status => status(session).await,
    }
}

/// Enables; when only the role is missing on user root, grants it first, as etcdctl does.
async fn enable(session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    match session.call(client.auth_enable(AuthEnableRequest {})).await {
        Err(failure) if failure.message == "etcdserver: root user does not have root role" => {
            let role = AuthRoleAddRequest { name: ROOT.to_owned() };
            // It may exist already; whether it helps shows at the second try.
            drop(session.call(client.role_add(role)).await);
            let grant = AuthUserGrantRoleRequest { user: ROOT.to_owned(), role: ROOT.to_owned() };
            session.call(client.user_grant_role(grant)).await?;
            session.call(client.auth_enable(AuthEnableRequest {})).await?;
        }
        answer => drop(answer?),
    }
    println!("Authentication Enabled");
    Ok(())
}

async fn disable(session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    session.call(client.auth_disable(AuthDisableRequest {})).await?;
    println!("Authentication Disabled");
    Ok(())
}

async fn status(session: &Session) -> Outcome {
    let mut client = session.auth().await?;
    let response = session.call(client.auth_status(AuthStatusRequest {})).await?;
    let header = response.header.as_ref();
    session.out.print(
        || {
            println!("Authentication Status: {}", response.enabled);
            println!("AuthRevision: {}", response.auth_revision);
        },
        || {
            fields::header(header);
            field("Enabled", response.enabled);
            field("AuthRevision", response.auth_revision);
        },
        || {
            json::object([
                ("header", json::header(header)),
                ("enabled", response.enabled.into()),
                ("authRevision", response.auth_revision.into()),
            ])
        },
    )
}
