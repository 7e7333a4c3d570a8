//! The domains that are answered here.

use std::fmt;
use std::str::FromStr;

use hickory_proto::rr::Name;

/// A domain, and what its name looks like to the resolver.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Fully qualified, lower case.
    pub(super) name: Name,
    /// Its labels, the topmost first.
    pub(super) labels: Vec<String>,
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |reason: &dyn fmt::Display| format!("{text:?} is not a domain: {reason}");
        let mut name = Name::from_ascii(text).map_err(|error| fail(&error))?.to_lowercase();
        name.set_fqdn(true);
        if name.is_root() {
            return Err(fail(&"the root is not ours to answer"));
        }
        Ok(Self { labels: labels(&name), name })
    }
}

impl Zone {
    /// `cluster.local`, as Kubernetes calls it unless told otherwise.
    pub fn cluster_local() -> Self {
        "cluster.local".parse().expect("two short labels are a name")
    }
}

impl fmt::Display for Zone {
    /// Without the dot at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.to_ascii().trim_end_matches('.'))
    }
}

/// The labels of a name in lower case, the topmost first.
pub(super) fn labels(name: &Name) -> Vec<String> {
    name.iter().rev().map(|label| String::from_utf8_lossy(label).to_lowercase()).collect()
}

impl Zone {
    /// The labels of `name` (topmost first) below this zone, if it is in it.
    pub(super) fn below<'a>(&self, name: &'a [String]) -> Option<&'a [String]> {
        name.strip_prefix(self.labels.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_a_zone_are_found() {
        // Proves that case does not matter, and that a zone's end must be a label's end.
        let zone: Zone = "Cluster.Local".parse().unwrap();
        let below = |name: &str| {
            let labels = labels(&Name::from_ascii(name).unwrap());
            zone.below(&labels).map(|below| below.join("/"))
        };
        assert_eq!(below("web.SERVICE.cluster.local."), Some("service/web".to_owned()));
        assert_eq!(below("cluster.local."), Some(String::new()));
        assert_eq!(below("mycluster.local."), None);
        assert_eq!(zone.to_string(), "cluster.local");
        assert_eq!(zone.name, Zone::cluster_local().name);
        assert!(".".parse::<Zone>().is_err());
        assert!("a..b".parse::<Zone>().is_err());
    }
}
