//! member add, list, promote, remove, update; move-leader.

use api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, ResponseHeader, StatusRequest,
};
use clap::{Args, Subcommand};

use super::args::Format;
use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::id;
use super::output::{fields, json, simple, table, unsupported};
use crate::config::parse_urls;

#[derive(Debug, Subcommand)]
pub(super) enum MemberVerb {
    /// Adds a member into the cluster
    Add(Add),
    /// Lists all members in the cluster
    List,
    /// Promotes a non-voting member in the cluster
    Promote {
        /// its id, hexadecimal
        id: Vec<String>,
    },
    /// Removes a member from the cluster
    Remove {
        /// its id, hexadecimal
        id: Vec<String>,
    },
    /// Updates a member in the cluster
    Update {
        /// its id, hexadecimal
        id: Vec<String>,
        /// comma separated peer URLs for the updated member
        #[arg(long, value_delimiter = ',')]
        peer_urls: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// the new member's name
    name: Vec<String>,
    /// comma separated peer URLs for the new member
    #[arg(long, value_delimiter = ',')]
    peer_urls: Vec<String>,
    /// indicates if the new member is raft learner
    #[arg(long)]
    learner: bool,
}

pub(super) async fn member(verb: MemberVerb, session: &mut Session) -> Outcome {
    match verb {
        MemberVerb::Add(new) => add(new, session).await,
        MemberVerb::List => list(session).await,
        MemberVerb::Promote { id } => promote(member_id(&id)?, session).await,
        MemberVerb::Remove { id } => remove(member_id(&id)?, session).await,
        MemberVerb::Update { id, peer_urls } => update(member_id(&id)?, peer_urls, session).await,
    }
}

/// One id, as etcdctl writes it.
fn member_id(words: &[String]) -> Result<u64, Failure> {
    let [id] = words else { return Err(Failure::bad_args("member ID is not provided")) };
    id::parse(id)
        .map_err(|why| Failure::bad_args(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

async fn add(new: Add, session: &Session) -> Outcome {
    let name = match new.name.as_slice() {
        [name] => name,
        [] => return Err(Failure::bad_args("member name not provided")),
        _ => return Err(Failure::bad_args("too many arguments")),
    };
    check_urls(&new.peer_urls)?;
    let mut client = session.cluster().await?;
    let request = MemberAddRequest { peer_urls: new.peer_urls.clone(), is_learner: new.learner };
    let answer = session.call(client.member_add(request)).await?;
    match session.out.format {
        Format::Json => json::print(&json::object([
            ("header", json::header(answer.header.as_ref())),
            ("member", answer.member.as_ref().map(json::member).unwrap_or_default()),
            ("members", answer.members.iter().map(json::member).collect()),
        ])),
        Format::Simple => print_added(&answer, name, &new.peer_urls),
        Format::Fields | Format::Table => return Err(unsupported(session.out.format)),
    }
    Ok(())
}

/// Peer URLs as etcd's clients look at them before they ask.
fn check_urls(urls: &[String]) -> Outcome {
    if urls.iter().all(String::is_empty) {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    parse_urls(&urls.join(",")).map_err(Failure::error)?;
    Ok(())
}

/// What the new member is to be started with comes along.
fn print_added(answer: &MemberAddResponse, name: &str, peer_urls: &[String]) {
    let id = answer.member.as_ref().map_or(0, |member| member.id);
    println!("Member {id:16x} added to cluster {:16x}", cluster(answer.header.as_ref()));
    let entries = |member: &Member| {
        let name = if member.id == id { name.to_owned() } else { member.name.clone() };
        member.peer_urls.iter().map(move |url| format!("{name}={url}")).collect::<Vec<_>>()
    };
    let all: Vec<String> = answer.members.iter().flat_map(entries).collect();
    println!("\nETCD_NAME={name:?}");
    println!("ETCD_INITIAL_CLUSTER={:?}", all.join(","));
    println!("ETCD_INITIAL_ADVERTISE_PEER_URLS={:?}", peer_urls.join(","));
    println!("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
}

async fn promote(id: u64, session: &Session) -> Outcome {
    let mut client = session.cluster().await?;
    let answer = session.call(client.member_promote(MemberPromoteRequest { id })).await?;
    print_changed("promoted in", id, answer.header.as_ref(), &answer.members, session)
}

async fn remove(id: u64, session: &Session) -> Outcome {
    let mut client = session.cluster().await?;
    let answer = session.call(client.member_remove(MemberRemoveRequest { id })).await?;
    print_changed("removed from", id, answer.header.as_ref(), &answer.members, session)
}

async fn update(id: u64, peer_urls: Vec<String>, session: &Session) -> Outcome {
    check_urls(&peer_urls)?;
    let mut client = session.cluster().await?;
    let request = MemberUpdateRequest { id, peer_urls };
    let answer = session.call(client.member_update(request)).await?;
    print_changed("updated in", id, answer.header.as_ref(), &answer.members, session)
}

fn print_changed(
    what: &str,
    id: u64,
    header: Option<&ResponseHeader>,
    members: &[Member],
    session: &Session,
) -> Outcome {
    match session.out.format {
        Format::Json => json::print(&json::object([
            ("header", json::header(header)),
            ("members", members.iter().map(json::member).collect()),
        ])),
        Format::Simple => println!("Member {id:16x} {what} cluster {:16x}", cluster(header)),
        Format::Fields | Format::Table => return Err(unsupported(session.out.format)),
    }
    Ok(())
}

fn cluster(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.cluster_id)
}

async fn list(session: &mut Session) -> Outcome {
    let mut client = session.cluster().await?;
    let request = MemberListRequest { linearizable: true };
    let response = session.call(client.member_list(request)).await?;
    let columns = || response.members.iter().map(simple::member_columns);
    match session.out.format {
        Format::Simple => columns().for_each(|columns| println!("{}", columns.join(", "))),
        Format::Fields => {
            fields::header(response.header.as_ref());
            response.members.iter().for_each(fields::member);
        }
        Format::Json => json::print(&json::object([
            ("header", json::header(response.header.as_ref())),
            ("members", response.members.iter().map(json::member).collect()),
        ])),
        Format::Table => table::print(
            &["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"],
            columns().collect(),
        ),
    }
    Ok(())
}

/// Asks the endpoint that leads.
pub(super) async fn move_leader(words: &[String], session: &Session) -> Outcome {
    let [target] = words else {
        return Err(Failure::bad_args("move-leader command needs 1 argument"));
    };
    let target_id = id::parse(target).map_err(Failure::bad_args)?;
    let endpoints = session.each_endpoint(false).await?;
    for endpoint in &endpoints {
        let mut client = session.maintenance_of(endpoint).await?;
        let status = session.call(client.status(StatusRequest {})).await?;
        let own = status.header.as_ref().map_or(0, |header| header.member_id);
        if own != status.leader {
            continue;
        }
        session.call(client.move_leader(MoveLeaderRequest { target_id })).await?;
        return print_moved(own, target_id, session.out.format);
    }
    Err(Failure::bad_args(format!("no leader endpoint given at [{}]", endpoints.join(" "))))
}

fn print_moved(from: u64, to: u64, format: Format) -> Outcome {
    match format {
        Format::Simple => println!("Leadership transferred from {from:x} to {to:x}"),
        // The answer has no field, in etcd neither.
        Format::Json => println!("{{}}"),
        Format::Fields | Format::Table => return Err(unsupported(format)),
    }
    Ok(())
}
