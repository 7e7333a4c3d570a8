//! member list.

use api::etcdserverpb::MemberListRequest;
use clap::Subcommand;

use super::args::Format;
use super::connect::Session;
use super::failure::Outcome;
use super::output::{fields, json, simple, table};

#[derive(Debug, Subcommand)]
pub(super) enum MemberVerb {
    /// Lists all members in the cluster
    List,
}

pub(super) async fn member(verb: &MemberVerb, session: &mut Session) -> Outcome {
    let MemberVerb::List = verb;
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
