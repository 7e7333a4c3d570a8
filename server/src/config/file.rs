//! The YAML or JSON config file. Its keys are the flags' names; TLS and socket options have
//! sections of their own, as in etcd.

use serde_yaml_ng::{Mapping, Value};

use super::table;
use super::value::Kind;
use super::values::{SetError, Values};

/// Reads the whole text of a config file.
///
/// # Errors
/// One line: not YAML, an unknown key, a value of the wrong kind. etcd passes over unknown keys;
/// here they are errors, since a setting that is silently lost is worse than a refused start.
pub(super) fn read(text: &str, values: &mut Values) -> Result<(), String> {
    let document: Value = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    let Value::Mapping(keys) = document else {
        return match document {
            Value::Null => Ok(()),
            _ => Err("not a mapping of settings".to_owned()),
        };
    };
    for (key, value) in &keys {
        let key = key.as_str().ok_or("a key is no text")?;
        match (section(key), value) {
            (_, Value::Null) => {}
            (Some(names), Value::Mapping(entries)) => read_section(key, names, entries, values)?,
            (Some(_), _) => return Err(format!("invalid {key}")),
            (None, value) => set(key, key, value, values)?,
        }
    }
    Ok(())
}

/// The keys of a section with the flags they stand for.
type Names = &'static [(&'static str, &'static str)];

fn section(key: &str) -> Option<Names> {
    match key {
        "client-transport-security" => Some(CLIENT_TLS),
        "peer-transport-security" => Some(PEER_TLS),
        "socket-options" => Some(SOCKET),
        _ => None,
    }
}

const CLIENT_TLS: Names = &[
    ("cert-file", "cert-file"),
    ("key-file", "key-file"),
    ("client-cert-file", "client-cert-file"),
    ("client-key-file", "client-key-file"),
    ("client-cert-auth", "client-cert-auth"),
    ("trusted-ca-file", "trusted-ca-file"),
    ("auto-tls", "auto-tls"),
    ("allowed-hostname", "client-cert-allowed-hostname"),
];

const PEER_TLS: Names = &[
    ("cert-file", "peer-cert-file"),
    ("key-file", "peer-key-file"),
    ("client-cert-file", "peer-client-cert-file"),
    ("client-key-file", "peer-client-key-file"),
    ("client-cert-auth", "peer-client-cert-auth"),
    ("trusted-ca-file", "peer-trusted-ca-file"),
    ("auto-tls", "peer-auto-tls"),
    ("allowed-cn", "peer-cert-allowed-cn"),
    ("allowed-hostname", "peer-cert-allowed-hostname"),
    ("skip-client-san-verification", "peer-skip-client-san-verification"),
];

const SOCKET: Names =
    &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")];

fn read_section(
    title: &str,
    names: Names,
    entries: &Mapping,
    values: &mut Values,
) -> Result<(), String> {
    for (key, value) in entries {
        let key = key.as_str().ok_or("a key is no text")?;
        let shown = format!("{title}.{key}");
        let flag = names.iter().find(|(name, _)| *name == key);
        let (_, flag) = flag.ok_or_else(|| format!("unknown key {shown}"))?;
        set(&shown, flag, value, values)?;
    }
    Ok(())
}

/// `shown` is the key as the file has it.
fn set(shown: &str, flag: &str, value: &Value, values: &mut Values) -> Result<(), String> {
    let text = scalar(value, is_duration(flag)).ok_or_else(|| format!("invalid {shown}"))?;
    // An empty text means the default, as etcd's own sample file is written.
    if text.is_empty() {
        return Ok(());
    }
    values.set(flag, &text).map_err(|error| match error {
        SetError::Unknown => format!("unknown key {shown}"),
        SetError::Invalid(why) => format!("invalid value {text:?} for {shown}: {why}"),
    })
}

fn is_duration(flag: &str) -> bool {
    let present = flag.strip_prefix("experimental-").unwrap_or(flag);
    table::find(present).is_some_and(|flag| flag.kind == Kind::Duration)
}

/// A scalar or a list of scalars as flag text; a bare number of a duration is nanoseconds.
fn scalar(value: &Value, duration: bool) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if duration => Some(format!("{number}ns")),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(items) => {
            let items: Option<Vec<String>> =
                items.iter().map(|item| scalar(item, duration)).collect();
            Some(items?.join(","))
        }
        Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Values, String> {
        let mut values = Values::default();
        read(text, &mut values).map(|()| values)
    }

    #[test]
    fn keys_are_flag_names() {
        // Shows scalars, lists, sections, durations in both forms, null and empty text.
        let values = parse(
            "name: m1\nlog-outputs: [stderr, stdout]\nwal-dir:\ndiscovery: ''\n\
             grpc-keepalive-timeout: 5000000000\nwatch-progress-notify-interval: 1m\n\
             socket-options:\n  reuse-port: true\nexperimental-corrupt-check-time: 7\n",
        )
        .unwrap();
        assert_eq!(values.get("name"), "m1");
        assert_eq!(values.get("log-outputs"), "stderr,stdout");
        assert_eq!(values.get("grpc-keepalive-timeout"), "5000000000ns");
        assert_eq!(values.get("watch-progress-notify-interval"), "60000000000ns");
        assert_eq!(values.get("socket-reuse-port"), "true");
        assert_eq!(values.get("corrupt-check-time"), "7ns");
        assert!(!values.is_set("wal-dir") && !values.is_set("discovery"));
    }

    #[test]
    fn json_is_yaml() {
        // Shows that the same file may be JSON.
        let values = parse(r#"{"name": "m2", "max-txn-ops": 64}"#).unwrap();
        assert_eq!((values.get("name"), values.get("max-txn-ops")), ("m2".into(), "64".into()));
    }

    #[test]
    fn mistakes_name_the_key() {
        // Shows that an unknown key, a wrong kind and broken YAML are each one line.
        assert_eq!(parse("nmae: x").unwrap_err(), "unknown key nmae");
        assert_eq!(
            parse("peer-transport-security: {x: 1}").unwrap_err(),
            "unknown key peer-transport-security.x"
        );
        assert!(parse("max-txn-ops: many").unwrap_err().contains("max-txn-ops"));
        assert!(parse("name: {a: b}").unwrap_err().contains("name"));
        assert!(parse("- a").is_err());
        assert!(parse("a: [").is_err());
    }
}
