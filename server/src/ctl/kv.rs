//! get, put, del and compaction.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use api::mvccpb::KeyValue;
use bytes::Bytes;
use clap::Args;
use sched::discovery::seal::{self, Identities};

use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::output::{fields, json, simple};
use super::{lease, range};

const TWO_WAYS: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";

#[derive(Debug, Args)]
pub(super) struct Get {
    /// key, and optionally the end of a range
    #[arg(value_name = "key [range_end]")]
    keys: Vec<OsString>,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "")]
    order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "")]
    sort_by: String,
    /// Maximum number of results
    #[arg(long, default_value_t = 0)]
    limit: i64,
    /// Get keys with matching prefix
    #[arg(long)]
    prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
    /// Specify the kv revision
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Get only the keys
    #[arg(long)]
    keys_only: bool,
    /// Get only the count
    #[arg(long)]
    count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long)]
    print_value_only: bool,
    /// Read sealed values with the identities in this file; others are printed as they are
    #[arg(long, value_name = "IDENTITY-FILE")]
    unseal: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// key, and the value unless it comes from standard input
    #[arg(value_name = "key [value]")]
    words: Vec<OsString>,
    /// lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0")]
    lease: String,
    /// return the previous key-value pair before modification
    #[arg(long)]
    prev_kv: bool,
    /// updates the key using its current value
    #[arg(long)]
    ignore_value: bool,
    /// updates the key using its current lease
    #[arg(long)]
    ignore_lease: bool,
    /// Seal the value to an age recipient (age1...), so that only its holder can read it; may be
    /// repeated
    #[arg(long, value_name = "RECIPIENT")]
    seal_to: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Del {
    /// key, and optionally the end of a range
    #[arg(value_name = "key [range_end]")]
    keys: Vec<OsString>,
    /// delete keys with matching prefix
    #[arg(long)]
    prefix: bool,
    /// return deleted key-value pairs
    #[arg(long)]
    prev_kv: bool,
    /// delete keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
}

#[derive(Debug, Args)]
pub(super) struct Compaction {
    /// revision up to which history may go
    revision: Option<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long)]
    physical: bool,
}

pub(super) async fn get(mut get: Get, session: &mut Session) -> Outcome {
    let (values_only, count_only) = (get.print_value_only, get.count_only);
    let unseal = get.unseal.take().map(|file| Identities::read(&file)).transpose();
    let unseal = unseal.map_err(Failure::bad_args)?;
    let request = get.request()?;
    let mut client = session.kv().await?;
    let mut response = session.call(client.range(request)).await?;
    if let Some(identities) = &unseal {
        response.kvs.iter_mut().try_for_each(|kv| unsealed(kv, identities))?;
    }
    let hex = session.out.hex;
    let simple = || match (count_only, values_only) {
        (true, _) => println!("{}", response.count),
        (_, true) => response.kvs.iter().for_each(|kv| simple::line(hex, &kv.value)),
        _ => simple::range(hex, &response),
    };
    session.out.print(simple, || fields::range(&response), || json::range(&response))
}

/// Puts what was sealed in the value's place.
fn unsealed(kv: &mut KeyValue, identities: &Identities) -> Outcome {
    if seal::is_sealed(&kv.value) {
        let plain = identities.unseal(&kv.value).map_err(|reason| {
            let key = String::from_utf8_lossy(&kv.key);
            Failure::error(format!("{key}: cannot be unsealed: {reason}"))
        })?;
        kv.value = plain.into();
    }
    Ok(())
}

/// As `age-keygen` writes it: the whole output is an identity file.
pub(super) fn seal_keygen() -> Outcome {
    let (secret, recipient) = seal::generate();
    println!("# public key: {recipient}\n{secret}");
    Ok(())
}

pub(super) async fn put(put: Put, session: &mut Session) -> Outcome {
    let request = put.request(Some(&mut std::io::stdin()))?;
    let mut client = session.kv().await?;
    let response = session.call(client.put(request)).await?;
    let hex = session.out.hex;
    session.out.print(
        || simple::put(hex, &response),
        || fields::put(&response),
        || json::put(&response),
    )
}

pub(super) async fn del(del: Del, session: &mut Session) -> Outcome {
    let request = del.request()?;
    let mut client = session.kv().await?;
    let response = session.call(client.delete_range(request)).await?;
    let hex = session.out.hex;
    session.out.print(
        || simple::delete(hex, &response),
        || fields::delete(&response),
        || json::delete(&response),
    )
}

pub(super) async fn compaction(compaction: &Compaction, session: &mut Session) -> Outcome {
    let Some(text) = &compaction.revision else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision = text.parse().map_err(|_| {
        Failure::error(format!("bad revision {text:?}: give it as a decimal number"))
    })?;
    let request = CompactionRequest { revision, physical: compaction.physical };
    let mut client = session.kv().await?;
    session.call(client.compact(request)).await?;
    println!("compacted revision {revision}");
    Ok(())
}

impl Get {
    /// The range that the flags ask for. Errors name the flag that is wrong.
    pub(super) fn request(self) -> Result<RangeRequest, Failure> {
        if self.unseal.is_some() {
            return Err(Failure::bad_args("`--unseal` cannot be used within a transaction"));
        }
        let (key, range_end) = key_range("get", self.keys, self.prefix, self.from_key)?;
        let serializable = match self.consistency.as_str() {
            "l" => false,
            "s" => true,
            other => {
                return Err(Failure::bad_feature(format!("unknown consistency flag {other:?}")));
            }
        };
        let target = sort_target(&self.sort_by)?;
        let order = match sort_order(&self.order)? {
            // Ascending by key is the order that ranges have anyway, at no cost.
            SortOrder::Ascend if target == SortTarget::Key => SortOrder::None,
            order => order,
        };
        Ok(RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            ..RangeRequest::default()
        })
    }
}

impl Put {
    /// The put that the words and flags ask for; a missing value is read from `input`, if given.
    pub(super) fn request(self, input: Option<&mut dyn Read>) -> Result<PutRequest, Failure> {
        let lease = lease::parse_id(&self.lease)?;
        let mut words = self.words.into_iter().map(os_bytes);
        let key = words.next();
        let value = words.next();
        let (key, value) = match (key, value, words.next()) {
            (Some(key), None, _) if self.ignore_value => (key, Bytes::new()),
            _ if self.ignore_value => {
                return Err(Failure::bad_args(
                    "put command needs only 1 argument when 'ignore-value' is set",
                ));
            }
            (Some(key), Some(value), None) => (key, value),
            (Some(key), None, _) if input.is_some() => (key, read_value(input)?),
            _ => {
                return Err(Failure::bad_args(
                    "put command needs 1 argument and input from stdin or 2 arguments",
                ));
            }
        };
        let value = match self.seal_to.as_slice() {
            [] => value,
            _ if self.ignore_value => {
                return Err(Failure::bad_args("`--seal-to` needs a value, which is to be ignored"));
            }
            to => seal::seal(&value, to).map(Bytes::from).map_err(Failure::bad_args)?,
        };
        Ok(PutRequest {
            key,
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

impl Del {
    /// The deletion that the words and flags ask for.
    pub(super) fn request(self) -> Result<DeleteRangeRequest, Failure> {
        let (key, range_end) = key_range("del", self.keys, self.prefix, self.from_key)?;
        Ok(DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv })
    }
}

fn read_value(input: Option<&mut dyn Read>) -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    if let Some(input) = input {
        let read = input.read_to_end(&mut value);
        read.map_err(|error| Failure::io("cannot read the value from standard input", &error))?;
    }
    if value.is_empty() {
        return Err(Failure::bad_args(
            "put command needs 1 argument and input from stdin or 2 arguments",
        ));
    }
    Ok(value.into())
}

/// Key and range end from the words of get, del or watch and its two range flags.
pub(super) fn key_range(
    verb: &str,
    words: Vec<OsString>,
    prefix: bool,
    from_key: bool,
) -> Result<(Bytes, Bytes), Failure> {
    if prefix && from_key {
        return Err(Failure::bad_args(TWO_WAYS));
    }
    let mut words = words.into_iter().map(os_bytes);
    let (Some(key), range_end, None) = (words.next(), words.next(), words.next()) else {
        return Err(Failure::bad_args(format!(
            "{verb} command needs one argument as key and an optional argument as range_end"
        )));
    };
    match range_end {
        Some(_) if prefix || from_key => Err(Failure::bad_args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        )),
        Some(range_end) => Ok((key, range_end)),
        None if prefix => Ok(range::prefix(key)),
        None if from_key => Ok(range::from_key(key)),
        None => Ok((key, Bytes::new())),
    }
}

/// A word of the command line as the bytes that it is: keys and values need not be UTF-8.
fn os_bytes(word: OsString) -> Bytes {
    word.into_vec().into()
}

fn sort_order(text: &str) -> Result<SortOrder, Failure> {
    match text.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Failure::bad_feature(format!("bad sort order {text}"))),
    }
}

fn sort_target(text: &str) -> Result<SortTarget, Failure> {
    match text.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        "VERSION" => Ok(SortTarget::Version),
        _ => Err(Failure::bad_feature(format!("bad sort target {text}"))),
    }
}
