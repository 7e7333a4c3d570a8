//! Whom a pod asks for names: its policy, and what it wishes beside it.

use std::net::IpAddr;

use serde_json::Value;

use super::super::status::FieldError;
use super::names;
use super::pod::{list, supported};

const POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
/// Of all searches, with the spaces between them.
const SEARCHES_BYTES_MAX: usize = 2048;

/// `path`: that of the pod's spec.
pub(super) fn check(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    supported(&format!("{path}.dnsPolicy"), &spec["dnsPolicy"], &POLICIES, errors);
    let config = &spec["dnsConfig"];
    let path = format!("{path}.dnsConfig");
    if spec["dnsPolicy"] == "None" && list(&config["nameservers"]).next().is_none() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(format!("{path}.nameservers"), why));
    }
    check_nameservers(&format!("{path}.nameservers"), &config["nameservers"], errors);
    check_searches(&format!("{path}.searches"), &config["searches"], errors);
    for (at, option) in list(&config["options"]).enumerate() {
        let path = format!("{path}.options[{at}]");
        match option["name"].as_str() {
            None | Some("") => errors.push(FieldError::required(&path, "must not be empty")),
            Some(name) => check_word(&format!("{path}.name"), name, errors),
        }
        if let Some(value) = option["value"].as_str() {
            check_word(&format!("{path}.value"), value, errors);
        }
    }
}

fn check_nameservers(path: &str, nameservers: &Value, errors: &mut Vec<FieldError>) {
    if list(nameservers).count() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(path, nameservers, &why));
    }
    for (at, one) in list(nameservers).enumerate() {
        if one.as_str().is_none_or(|text| text.parse::<IpAddr>().is_err()) {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("{path}[{at}]"), one, why));
        }
    }
}

fn check_searches(path: &str, searches: &Value, errors: &mut Vec<FieldError>) {
    let words: Vec<&str> = list(searches).filter_map(Value::as_str).collect();
    if words.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(path, searches, &why));
    }
    if words.join(" ").len() > SEARCHES_BYTES_MAX {
        let why = format!(
            "must not have more than {SEARCHES_BYTES_MAX} characters (including spaces) in the \
             search list"
        );
        errors.push(FieldError::invalid(path, searches, &why));
    }
    for (at, word) in words.iter().enumerate() {
        // The whole of the tree is a domain, too.
        if *word != "." && !names::is_subdomain(word.strip_suffix('.').unwrap_or(word)) {
            let path = format!("{path}[{at}]");
            errors.push(FieldError::invalid(path, &(*word).into(), names::SUBDOMAIN));
        }
    }
}

/// What would end its line in the file, or begin another word, is none.
fn check_word(path: &str, word: &str, errors: &mut Vec<FieldError>) {
    if word.is_empty()
        || word.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    {
        let why = "must be one word, without spaces";
        errors.push(FieldError::invalid(path, &word.into(), why));
    }
}
