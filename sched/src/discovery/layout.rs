//! The keys and documents of discovery, as `docs/discovery.md` describes them for everyone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Instances: `/services/<service>/<instance>`.
pub const SERVICES: &str = "/services/";
/// Their health: `/health/<service>/<instance>`.
pub const HEALTH: &str = "/health/";

/// What a DNS label holds, which a service's name becomes.
const LABEL_BYTES_MAX: usize = 63;
/// Long enough for a host name and a port.
const INSTANCE_BYTES_MAX: usize = 253;
/// Share of the load of an instance that names none.
const WEIGHT: u16 = 1;

/// The document at an instance's key. Fields that are not known here are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub address: IpAddr,
    pub port: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(default = "default_weight")]
    pub weight: u16,
    #[serde(default)]
    pub health: HealthBy,
    /// When it registered, in seconds since 1970; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<u64>,
}

/// What an instance's health rests on while it has no health key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthBy {
    /// Registered is passing.
    #[default]
    None,
    /// Without a health key it is critical: whoever vouched for it is gone, or has not begun.
    Key,
}

/// The document at a health key. The key is the fact: it dies with its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub status: Status,
    /// What the last check said; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// Whether an instance should be sent work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Passing,
    Critical,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Critical => "critical",
        }
    }
}

fn default_weight() -> u16 {
    WEIGHT
}

/// Which instance a key is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub service: String,
    pub instance: String,
}

impl Name {
    /// # Errors
    /// One line that says which of the two is no name, and what one is.
    pub fn new(service: &str, instance: &str) -> Result<Self, String> {
        if !is_label(service) {
            return Err(format!(
                "{service:?} is not a name for a service: 1 to {LABEL_BYTES_MAX} lower case \
                 letters, digits and hyphens, not at either end, because it becomes part of a \
                 DNS name"
            ));
        }
        if instance.is_empty() || instance.len() > INSTANCE_BYTES_MAX || instance.contains('/') {
            return Err(format!(
                "{instance:?} is not a name for an instance: 1 to {INSTANCE_BYTES_MAX} bytes \
                 without a slash"
            ));
        }
        Ok(Self { service: service.to_owned(), instance: instance.to_owned() })
    }

    pub fn instance_key(&self) -> String {
        format!("{SERVICES}{}/{}", self.service, self.instance)
    }

    pub fn health_key(&self) -> String {
        format!("{HEALTH}{}/{}", self.service, self.instance)
    }

    /// The name in a key that begins with `prefix`.
    pub(crate) fn of_key(prefix: &str, key: &[u8]) -> Result<Self, String> {
        let key = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
        let rest = key.strip_prefix(prefix).unwrap_or(key);
        let (service, instance) = rest
            .split_once('/')
            .ok_or_else(|| format!("the key is not {prefix}<service>/<instance>"))?;
        Self::new(service, instance)
    }
}

/// Whether a text can be one label of a DNS name.
pub(crate) fn is_label(text: &str) -> bool {
    let fits = (1..=LABEL_BYTES_MAX).contains(&text.len());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    fits && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_document_is_enough() {
        // Proves what the documentation promises to those who register by hand.
        let instance: Instance =
            serde_json::from_str(r#"{"address":"10.0.0.7","port":80,"owner":"me"}"#).unwrap();
        assert_eq!(instance.weight, 1);
        assert_eq!(instance.health, HealthBy::None);
        let health: Health = serde_json::from_str(r#"{"status":"passing"}"#).unwrap();
        assert_eq!(health.status, Status::Passing);
        for wrong in [
            r#"{"address":"web.example.com","port":80}"#,
            r#"{"address":"10.0.0.7","port":70000}"#,
            r#"{"port":80}"#,
        ] {
            assert!(serde_json::from_str::<Instance>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_what_dns_and_keys_can_hold() {
        // Proves that nothing is registered that cannot be asked for, or that is another key.
        let long = "a".repeat(64);
        for wrong in ["", "Web", "a_b", "-a", "a-", "a.b", "a/b", long.as_str()] {
            assert!(Name::new(wrong, "1").is_err(), "{wrong}");
        }
        assert!(Name::new("web", "a/b").is_err());
        assert!(Name::new("web", "").is_err());
        let name = Name::new("web-2", "host.example:80").unwrap();
        assert_eq!(Name::of_key(SERVICES, name.instance_key().as_bytes()), Ok(name.clone()));
        assert_eq!(Name::of_key(HEALTH, name.health_key().as_bytes()), Ok(name));
        assert!(Name::of_key(SERVICES, b"/services/web").is_err());
    }
}
