//! txn: compares and two lists of requests, read from standard input.

use std::io::{BufRead, Lines, StdinLock};

use api::etcdserverpb::TxnRequest;
use clap::Args;

use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::output::{fields, json, simple};
use super::txn_syntax::{parse_compare, parse_request};

#[derive(Debug, Args)]
pub(super) struct Txn {
    /// Input transaction in interactive mode
    #[arg(short, long)]
    interactive: bool,
}

pub(super) async fn txn(txn: &Txn, session: &mut Session) -> Outcome {
    let request = read_request(std::io::stdin().lock().lines(), txn.interactive)?;
    let mut client = session.kv().await?;
    let response = session.call(client.txn(request)).await?;
    let hex = session.out.hex;
    session.out.print(
        || simple::txn(hex, &response),
        || fields::txn(&response),
        || json::txn(&response),
    )
}

/// Reads the three parts, each ended by an empty line or the end of input.
fn read_request(
    mut lines: Lines<StdinLock<'static>>,
    interactive: bool,
) -> Result<TxnRequest, Failure> {
    let mut part = |prompt: &str| -> Result<Vec<String>, Failure> {
        if interactive {
            println!("{prompt}:");
        }
        let mut part = Vec::new();
        for line in lines.by_ref() {
            let line = line.map_err(|error| Failure::io("cannot read standard input", &error))?;
            if line.trim().is_empty() {
                break;
            }
            part.push(line.trim().to_owned());
        }
        Ok(part)
    };
    let compare = part("compares")?;
    let compare = compare.iter().map(|line| parse_compare(line)).collect::<Result<_, _>>()?;
    let success = part("success requests (get, put, del)")?;
    let success = success.iter().map(|line| parse_request(line)).collect::<Result<_, _>>()?;
    let failure = part("failure requests (get, put, del)")?;
    let failure = failure.iter().map(|line| parse_request(line)).collect::<Result<_, _>>()?;
    Ok(TxnRequest { compare, success, failure })
}
