//! lease grant, revoke, timetolive, list and keep-alive.

use api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use clap::Subcommand;
use futures::StreamExt;
use futures::channel::mpsc;

use super::connect::Session;
use super::failure::{EXIT_BAD_CONNECTION, Failure, Outcome};
use super::output::fields::field;
use super::output::{fields, json};
use super::quote::quote;

#[derive(Debug, Subcommand)]
pub(super) enum LeaseVerb {
    /// Creates leases
    Grant { ttl: Vec<String> },
    /// Revokes leases
    Revoke { id: Vec<String> },
    /// Get lease information
    Timetolive {
        id: Vec<String>,
        /// Get keys attached to this lease
        #[arg(long)]
        keys: bool,
    },
    /// List all active leases
    List,
    /// Keeps leases alive (renew)
    KeepAlive {
        id: Vec<String>,
        /// Resets the keep-alive time to its original value and exits immediately
        #[arg(long)]
        once: bool,
    },
}

pub(super) async fn lease(verb: LeaseVerb, session: &mut Session) -> Outcome {
    match verb {
        LeaseVerb::Grant { ttl } => grant(&ttl, session).await,
        LeaseVerb::Revoke { id } => revoke(&id, session).await,
        LeaseVerb::Timetolive { id, keys } => time_to_live(&id, keys, session).await,
        LeaseVerb::List => list(session).await,
        LeaseVerb::KeepAlive { id, once } => keep_alive(&id, once, session).await,
    }
}

/// Reads a lease id as etcdctl writes it: hexadecimal.
pub(super) fn parse_id(text: &str) -> Result<i64, Failure> {
    i64::from_str_radix(text, 16)
        .map_err(|_| Failure::bad_args(format!("bad lease ID ({text:?}), expecting ID in Hex")))
}

fn only_id(words: &[String], verb: &str) -> Result<i64, Failure> {
    match words {
        [id] => parse_id(id),
        _ if verb == "revoke" => Err(Failure::bad_args("lease revoke command needs 1 argument")),
        _ => Err(Failure::bad_args(format!("lease {verb} command needs lease ID as argument"))),
    }
}

async fn grant(words: &[String], session: &Session) -> Outcome {
    let [text] = words else {
        return Err(Failure::bad_args("lease grant command needs TTL argument"));
    };
    let ttl = text.parse().map_err(|_| {
        Failure::bad_args(format!("bad TTL ({text:?}), expecting a number of seconds"))
    })?;
    let mut client = session.lease().await?;
    let answer = session.call(client.lease_grant(LeaseGrantRequest { ttl, id: 0 })).await;
    let response = answer.map_err(|failure| {
        Failure::error(format!("failed to grant lease ({})", failure.message))
    })?;
    let header = response.header.as_ref();
    session.out.print(
        || println!("lease {:016x} granted with TTL({}s)", response.id, response.ttl),
        || {
            fields::header(header);
            field("ID", response.id);
            field("TTL", response.ttl);
        },
        || {
            json::inlined(
                header,
                [
                    ("ID", response.id.into()),
                    ("TTL", response.ttl.into()),
                    ("Error", response.error.clone().into()),
                ],
            )
        },
    )
}

async fn revoke(words: &[String], session: &Session) -> Outcome {
    let id = only_id(words, "revoke")?;
    let mut client = session.lease().await?;
    let answer = session.call(client.lease_revoke(LeaseRevokeRequest { id })).await;
    let response = answer.map_err(|failure| {
        Failure::error(format!("failed to revoke lease ({})", failure.message))
    })?;
    session.out.done(&format!("lease {id:016x} revoked"), response.header.as_ref())
}

async fn time_to_live(words: &[String], keys: bool, session: &Session) -> Outcome {
    let id = only_id(words, "timetolive")?;
    let mut client = session.lease().await?;
    let request = LeaseTimeToLiveRequest { id, keys };
    let response = session.call(client.lease_time_to_live(request)).await?;
    let header = response.header.as_ref();
    session.out.print(
        || println!("{}", remaining(&response, keys)),
        || {
            fields::header(header);
            field("ID", response.id);
            field("TTL", response.ttl);
            field("GrantedTTL", response.granted_ttl);
            response.keys.iter().for_each(|key| field("Key", quote(key)));
        },
        || {
            let attached: Vec<_> = response.keys.iter().map(|key| json::bytes(key)).collect();
            let attached = if attached.is_empty() { None } else { Some(attached) };
            json::inlined(
                header,
                [
                    ("id", response.id.into()),
                    ("ttl", response.ttl.into()),
                    ("granted-ttl", response.granted_ttl.into()),
                    ("keys", attached.into()),
                ],
            )
        },
    )
}

fn remaining(response: &LeaseTimeToLiveResponse, keys: bool) -> String {
    let id = response.id;
    if response.granted_ttl == 0 && response.ttl == -1 {
        return format!("lease {id:016x} already expired");
    }
    let text = format!(
        "lease {id:016x} granted with TTL({}s), remaining({}s)",
        response.granted_ttl, response.ttl
    );
    if !keys {
        return text;
    }
    let keys: Vec<_> = response.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
    format!("{text}, attached keys([{}])", keys.join(" "))
}

async fn list(session: &Session) -> Outcome {
    let mut client = session.lease().await?;
    let response = session.call(client.lease_leases(LeaseLeasesRequest {})).await?;
    session.out.print(
        || {
            println!("found {} leases", response.leases.len());
            response.leases.iter().for_each(|lease| println!("{:016x}", lease.id));
        },
        || {
            fields::header(response.header.as_ref());
            response.leases.iter().for_each(|lease| field("ID", lease.id));
        },
        || leases_json(&response),
    )
}

fn leases_json(response: &LeaseLeasesResponse) -> serde_json::Value {
    let leases = response.leases.iter();
    let leases: Vec<_> = leases.map(|lease| json::object([("id", lease.id.into())])).collect();
    json::inlined(response.header.as_ref(), [("leases", leases.into())])
}

async fn keep_alive(words: &[String], once: bool, session: &Session) -> Outcome {
    let id = only_id(words, "keep-alive")?;
    let mut client = session.lease().await?;
    let (requests, sent) = mpsc::unbounded();
    let ask = || requests.unbounded_send(LeaseKeepAliveRequest { id });
    ask().map_err(closed)?;
    let mut answers = session.call(client.lease_keep_alive(sent)).await?;
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        if answer.ttl <= 0 {
            return gone(id, once);
        }
        print_kept(&answer, session)?;
        if once {
            return Ok(());
        }
        // A third of the TTL leaves two more tries before the lease would run out.
        let pause_ms = answer.ttl.unsigned_abs().saturating_mul(1000) / 3;
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        ask().map_err(closed)?;
    }
    Err(Failure::new(EXIT_BAD_CONNECTION, "the server ended the keep-alive stream"))
}

fn gone(id: i64, once: bool) -> Outcome {
    if once {
        let message = "etcdserver: requested lease not found";
        return Err(Failure::new(EXIT_BAD_CONNECTION, message));
    }
    println!("lease {id:016x} expired or revoked.");
    Ok(())
}

fn print_kept(answer: &LeaseKeepAliveResponse, session: &Session) -> Outcome {
    let header = answer.header.as_ref();
    session.out.print(
        || println!("lease {:016x} keepalived with TTL({})", answer.id, answer.ttl),
        || {
            fields::header(header);
            field("ID", answer.id);
            field("TTL", answer.ttl);
        },
        || json::inlined(header, [("ID", answer.id.into()), ("TTL", answer.ttl.into())]),
    )
}

fn closed<T>(_: mpsc::TrySendError<T>) -> Failure {
    Failure::new(EXIT_BAD_CONNECTION, "the server ended the keep-alive stream")
}
