//! The two little languages of `txn`: compares (`mod("key") > "0"`) and requests (`put k v`).

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, RequestOp};
use clap::{Parser, Subcommand};

use super::failure::Failure;
use super::go_flags;
use super::kv::{Del, Get, Put};
use super::lease;
use super::quote::unquote_prefix;

/// Parses `TARGET("KEY") OPERATOR "VALUE"`.
pub(super) fn parse_compare(line: &str) -> Result<Compare, Failure> {
    let malformed = || Failure::invalid_input(format!("malformed comparison: {line}"));
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = unquote_prefix(rest.trim_start()).ok_or_else(malformed)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(malformed)?.trim_start();
    let (operator, rest) = rest.split_once([' ', '\t']).ok_or_else(malformed)?;
    let (value, rest) = unquote_prefix(rest.trim_start()).ok_or_else(malformed)?;
    if !rest.trim().is_empty() {
        return Err(malformed());
    }
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => {
            return Err(Failure::invalid_input(format!("{other:?} is not a comparison: = != > <")));
        }
    };
    let (target, union) = target_value(target.trim(), value, line)?;
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Compare::default()
    })
}

fn target_value(
    target: &str,
    value: Vec<u8>,
    line: &str,
) -> Result<(CompareTarget, TargetUnion), Failure> {
    let number = || {
        let text = std::str::from_utf8(&value).ok();
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::invalid_input(format!("not a number on the right of: {line}")))
    };
    Ok(match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => {
            let id = lease::parse_id(&String::from_utf8_lossy(&value))?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        other => {
            return Err(Failure::invalid_input(format!(
                "malformed comparison: {line} (unknown target {other})"
            )));
        }
    })
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct RequestLine {
    #[command(subcommand)]
    verb: RequestVerb,
}

#[derive(Debug, Subcommand)]
enum RequestVerb {
    Get(Get),
    Put(Put),
    Del(Del),
}

/// Parses `get`, `put` or `del` with the flags that they have on the command line.
pub(super) fn parse_request(line: &str) -> Result<RequestOp, Failure> {
    let words = words(line)?;
    let parsed = go_flags::parse::<RequestLine>(words).map_err(|error| {
        Failure::invalid_input(format!("invalid txn request {line:?}: {error}"))
    })?;
    let request = match parsed.verb {
        RequestVerb::Get(get) => Request::RequestRange(get.request()?),
        RequestVerb::Put(put) => Request::RequestPut(put.request(None)?),
        RequestVerb::Del(del) => Request::RequestDeleteRange(del.request()?),
    };
    Ok(RequestOp { request: Some(request) })
}

/// Splits a line as a shell does: blanks separate, quotes hold together.
pub(super) fn words(line: &str) -> Result<Vec<String>, Failure> {
    shlex::split(line)
        .ok_or_else(|| Failure::invalid_input(format!("a quote is not closed in: {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves each target and operator in etcdctl's spelling.
    #[test]
    fn compares_parse() {
        let compare = parse_compare(r#"mod("a b") > "7""#).unwrap();
        assert_eq!(compare.key, "a b");
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(7)));
        assert_eq!(compare.result(), CompareResult::Greater);
        let compare = parse_compare(r#"value("k") != "x\"y""#).unwrap();
        assert_eq!(compare.target_union, Some(TargetUnion::Value("x\"y".into())));
        for line in ["mod(a) = \"1\"", "mod(\"a\") ~ \"1\"", "mod(\"a\") = \"x\"", "what", ""] {
            assert!(parse_compare(line).is_err(), "{line}");
        }
    }

    /// Proves that requests take flags and quoted words.
    #[test]
    fn requests_parse() {
        let op = parse_request(r#"put "a key" 'a value' --prev-kv"#).unwrap();
        let Some(Request::RequestPut(put)) = op.request else { panic!("not a put: {op:?}") };
        assert_eq!((put.key, put.value, put.prev_kv), ("a key".into(), "a value".into(), true));
        assert!(parse_request("txn x").is_err());
        assert!(parse_request("put k \"open").is_err());
    }
}
