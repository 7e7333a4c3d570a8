//! Functions on text alone, as confd has them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::value::Rest;
use minijinja::{Environment, Error, Value};

use super::functions::wrong;

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_function("base", base);
    environment.add_function("dir", dir);
    environment.add_function("split", |text: &str, by: &str| {
        text.split(by).map(str::to_owned).collect::<Vec<_>>()
    });
    environment.add_function("join", |parts: Vec<String>, by: &str| parts.join(by));
    environment.add_function("toUpper", |text: &str| text.to_uppercase());
    environment.add_function("toLower", |text: &str| text.to_lowercase());
    environment.add_function("contains", |text: &str, part: &str| text.contains(part));
    environment.add_function("replace", replace);
    environment.add_function("trimSuffix", |text: &str, end: &str| {
        text.strip_suffix(end).unwrap_or(text).to_owned()
    });
    environment.add_function("reverse", |mut all: Vec<Value>| {
        all.reverse();
        all
    });
    environment.add_function("sortByLength", |mut all: Vec<String>| {
        all.sort_by_key(String::len);
        all
    });
    environment.add_function("sortKVByLength", |mut all: Vec<Value>| {
        // Pairs as `gets` gives them; those with keys of one length stay in their order.
        all.sort_by_key(|pair| {
            let key = pair.get_attr("key").unwrap_or_default();
            key.as_str().map_or(0, str::len)
        });
        all
    });
    environment.add_function("map", |words: Rest<Value>| map(&words));
    environment.add_function("base64Encode", |text: &str| BASE64_STANDARD.encode(text));
    environment.add_function("base64Decode", decode);
    environment.add_function("atoi", |text: &str| {
        text.parse::<i64>().map_err(|_| wrong(format!("{text:?} is not a number")))
    });
    environment.add_function("parseBool", |text: &str| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(wrong(format!("{text:?} is neither true nor false"))),
    });
}

/// What follows each name is its value.
fn map(words: &[Value]) -> Result<Value, Error> {
    let pairs = words.chunks(2).map(|pair| match pair {
        [name, value] if name.as_str().is_some() => Ok((name.to_string(), value.clone())),
        [name, _] => Err(wrong(format!("{name} is no text, and cannot be a name"))),
        _ => Err(wrong("map takes a name and a value, and so on in turns")),
    });
    pairs.collect::<Result<BTreeMap<String, Value>, _>>().map(Value::from)
}

/// The last part of a path.
fn base(path: &str) -> String {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// All but the last part of a path.
fn dir(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((dir, _)) => dir.to_owned(),
        None => ".".to_owned(),
    }
}

/// The first `count` occurrences, or all if that is negative.
fn replace(text: &str, from: &str, to: &str, count: i64) -> String {
    match usize::try_from(count) {
        Ok(count) => text.replacen(from, to, count),
        Err(_) => text.replace(from, to),
    }
}

fn decode(text: &str) -> Result<String, Error> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| wrong("what was encoded is not text"))
}
