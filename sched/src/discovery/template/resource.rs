//! Resources, as confd's TOML files spell them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::lookup::Helpers;

/// One file to keep up to date.
#[derive(Clone, Debug)]
pub struct Resource {
    pub(super) template: PathBuf,
    pub(super) templates: PathBuf,
    pub(super) fields: Fields,
    /// Before every key: begins with a slash or is empty, and does not end with one.
    pub(super) prefix: String,
    pub(super) helpers: Arc<Helpers>,
}

/// What a file holds: one table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    template: Fields,
}

/// The fields of a resource.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// The template, in the directory of templates.
    pub(super) src: String,
    /// The file to write.
    pub(super) dest: PathBuf,
    /// Keys, or prefixes of keys, that it is made of.
    pub(super) keys: Vec<String>,
    #[serde(default)]
    prefix: String,
    /// Octal; without it that of the file that is there, or 0644.
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    pub(super) uid: Option<u32>,
    #[serde(default)]
    pub(super) gid: Option<u32>,
    /// A command that must accept the file; `{{.src}}` stands for it.
    #[serde(default)]
    pub(super) check_cmd: Option<String>,
    /// A command that makes whoever reads the file read it again; `{{.src}}` stands for it.
    #[serde(default)]
    pub(super) reload_cmd: Option<String>,
}

pub(super) fn load(
    directory: &Path,
    prefix: &str,
    helpers: &Arc<Helpers>,
) -> Result<Vec<Resource>, String> {
    let conf_d = directory.join("conf.d");
    let fail = |error: std::io::Error| format!("{}: {error}", conf_d.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&conf_d).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("{}: there is no *.toml that names a template", conf_d.display()));
    }
    files.sort();
    files.iter().map(|file| Resource::read(file, directory, prefix, helpers)).collect()
}

impl Resource {
    fn read(
        file: &Path,
        directory: &Path,
        prefix: &str,
        helpers: &Arc<Helpers>,
    ) -> Result<Self, String> {
        let at = |reason: String| format!("{}: {reason}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
        let document: Document = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
        let fields = document.template;
        let templates = directory.join("templates");
        let resource = Self {
            template: templates.join(&fields.src),
            templates,
            prefix: joined(prefix, &fields.prefix),
            fields,
            helpers: helpers.clone(),
        };
        resource.validate().map_err(at)?;
        Ok(resource)
    }

    fn validate(&self) -> Result<(), String> {
        self.mode()?;
        if self.fields.keys.is_empty() {
            return Err("keys: name at least one key or prefix".to_owned());
        }
        if self.fields.dest.file_name().is_none() || !self.fields.dest.is_absolute() {
            return Err(format!("dest: {:?} is not the whole path of a file", self.fields.dest));
        }
        if !self.template.is_file() {
            return Err(format!("src: there is no template {}", self.template.display()));
        }
        Ok(())
    }

    /// The file that is kept up to date.
    pub fn dest(&self) -> &Path {
        &self.fields.dest
    }

    /// The mode that the file is to have, if it says.
    pub(super) fn mode(&self) -> Result<Option<u32>, String> {
        let Some(mode) = &self.fields.mode else { return Ok(None) };
        match u32::from_str_radix(mode, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
            _ => Err(format!("mode: {mode:?} is not an octal mode such as \"0644\"")),
        }
    }

    /// The keys, as they are in the store.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = String> {
        self.fields.keys.iter().map(|key| joined(&self.prefix, key))
    }

    /// Whether a key is one of the keys, or below one, as confd's etcdv3 backend sees it.
    pub(super) fn is_made_of(&self, key: &[u8]) -> bool {
        let below = |prefix: String| {
            let rest = key.strip_prefix(prefix.as_bytes());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(b"/") || prefix.ends_with('/')
            })
        };
        self.prefixes().any(below)
    }
}

/// Two paths as one, with one slash between them and one before.
fn joined(prefix: &str, key: &str) -> String {
    let parts = prefix.split('/').chain(key.split('/')).filter(|part| !part.is_empty());
    let path: String = parts.map(|part| format!("/{part}")).collect();
    // A slash at the end means what lies below, and not what begins alike.
    if key.ends_with('/') || path.is_empty() { format!("{path}/") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Result<Resource, String> {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["conf.d", "templates"] {
            std::fs::create_dir(directory.path().join(folder)).unwrap();
        }
        std::fs::write(directory.path().join("templates/a.tmpl"), "").unwrap();
        std::fs::write(directory.path().join("conf.d/a.toml"), text).unwrap();
        load(directory.path(), "/app", &Arc::default()).map(|mut all| all.remove(0))
    }

    #[test]
    fn resources_are_read_as_confd_reads_them() {
        // Proves prefixes, modes, and that a mistake is told with the file and the field.
        let good = r#"
            [template]
            src = "a.tmpl"
            dest = "/etc/a.conf"
            prefix = "/prod"
            keys = ["/web", "db/"]
            mode = "0600"
            reload_cmd = "true"
        "#;
        let read = resource(good).unwrap();
        assert_eq!(read.prefixes().collect::<Vec<_>>(), ["/app/prod/web", "/app/prod/db/"]);
        assert_eq!(read.mode(), Ok(Some(0o600)));
        assert!(read.is_made_of(b"/app/prod/web") && read.is_made_of(b"/app/prod/web/a"));
        assert!(!read.is_made_of(b"/app/prod/web2"));
        assert!(!read.is_made_of(b"/app/prod/db2"));
        for (from, to, word) in [
            ("0600", "0999", "mode"),
            ("a.tmpl", "b.tmpl", "b.tmpl"),
            ("/etc/a.conf", "etc/a.conf", "dest"),
            (r#"["/web", "db/"]"#, "[]", "keys"),
            ("reload_cmd", "reload", "reload"),
        ] {
            let error = resource(&good.replace(from, to)).unwrap_err();
            assert!(error.contains(word) && error.contains("a.toml"), "{error}");
        }
        assert_eq!(joined("", "/"), "/");
    }
}
