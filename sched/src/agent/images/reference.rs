//! What an image is called: `busybox` is `docker.io/library/busybox:latest`.

use std::fmt;
use std::str::FromStr;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// A full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    /// A tag, or a digest (`sha256:...`).
    pub version: String,
}

impl Reference {
    pub fn is_digest(&self) -> bool {
        self.version.contains(':')
    }

    /// Whether it names whatever is newest, so that it is asked for each time by default.
    pub fn is_latest(&self) -> bool {
        self.version == DEFAULT_TAG
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.is_digest() { '@' } else { ':' };
        write!(formatter, "{}/{}{separator}{}", self.registry, self.repository, self.version)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not the name of an image: {why}");
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        let (path, tag) = path.split_once(':').unwrap_or((path, DEFAULT_TAG));
        let is_name = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        if !path.split('/').all(is_name) {
            return Err(wrong("between slashes it wants lower case letters, digits, . _ and -"));
        }
        let is_tag = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || !tag.chars().all(is_tag) {
            return Err(wrong("the tag wants letters, digits, . _ and -"));
        }
        let hex = digest.map(|digest| digest.strip_prefix("sha256:").unwrap_or_default());
        if hex.is_some_and(|hex| hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit())) {
            return Err(wrong("the digest must be sha256: and 64 hexadecimal digits"));
        }
        let repository = match path.contains('/') || registry != DEFAULT_REGISTRY {
            true => path.to_owned(),
            false => format!("library/{path}"),
        };
        let version = digest.unwrap_or(tag).to_owned();
        Ok(Self { registry: registry.to_owned(), repository, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_full_names() {
        // Proves what is filled in, and that nonsense is refused with the reason.
        let digest = format!("sha256:{}", "a".repeat(64));
        let at = format!("ghcr.io/o/app@{digest}");
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("me/app:v1", "docker.io/me/app:v1"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("example.com/a/b:1.2", "example.com/a/b:1.2"),
            (at.as_str(), at.as_str()),
        ] {
            assert_eq!(short.parse::<Reference>().unwrap().to_string(), full);
        }
        for wrong in ["", "Busybox", "a b", "app:", "app@sha256:12", "a//b"] {
            let error = wrong.parse::<Reference>().unwrap_err();
            assert!(error.contains("name of an image"), "{error}");
        }
    }
}
