//! What the operator asked for: etcd's flags, `ETCD_*` environment and config file.
//!
//! Flags win over the environment, the environment over defaults; a config file stands alone.
//! Invariant: nothing that was asked for is lost without a word ([`table`]).
//!
//! Start at [`load`]; then [`table`] for what each flag does, [`settings`] for what comes out.

mod aliases;
mod arguments;
mod auth_token;
mod cluster;
mod compaction;
mod duration;
mod environment;
mod file;
mod gates;
mod help;
mod ids;
mod own;
mod reader;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod urls;
mod value;
mod values;

use std::ffi::OsString;

pub use auth_token::{AuthToken, JwtSettings};
pub use cluster::{InitialCluster, Member};
pub use compaction::AutoCompaction;
#[cfg(any(test, feature = "failpoints"))]
pub(crate) use duration::parse as go_duration_ns;
pub use help::{FLAGS_HINT, names as flag_names, text as help};
pub use ids::{added_member_id, cluster_id, member_id};
pub(crate) use own::OwnFlags;
pub use settings::{Addresses, Limits, LogSettings, Notice, Settings, TraceSettings};
pub use tls::{
    AllowedNames, CIPHER_SUITES, Certificate, CertificateFiles, ClientTlsSettings, PeerTlsSettings,
    TlsProtocol, TlsSettings, TlsVersions,
};
pub use urls::{Scheme, Url, join as join_urls, parse_list as parse_urls};

use values::Values;

/// The largest `--max-request-bytes`: what is larger could not be sent to another member.
pub const REQUEST_BYTES_MAX: u32 = 128 << 20;

/// How the program was called, as far as it changes defaults.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Through a link named `etcd`: data goes where etcd would put it.
    pub as_etcd: bool,
    /// Without any argument: berth's own conveniences are on.
    pub bare: bool,
    /// Settled while loading: settings came from a file.
    pub from_file: bool,
}

/// Why there are no settings to start with.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help,
    /// The command line is wrong: the line, then the usage, exit code 2.
    Usage(String),
    /// A setting is wrong: the line, exit code 1.
    Invalid(String),
}

/// Reads everything and checks it.
pub fn load(
    arguments: Vec<OsString>,
    environment: &[(String, String)],
    mut invocation: Invocation,
) -> Result<Settings, Stop> {
    let mut values = Values::default();
    arguments::read(arguments, &mut values).map_err(|stop| match stop {
        arguments::Stop::Help => Stop::Help,
        arguments::Stop::Usage(line) => Stop::Usage(line),
        arguments::Stop::NotAFlag(word) => Stop::Invalid(format!("{word:?} is not a valid flag")),
    })?;
    match config_file(&values, environment) {
        Some(path) => {
            values = read_file(&path)?;
            invocation.from_file = true;
        }
        None => environment::read(environment, &mut values).map_err(Stop::Invalid)?,
    }
    Settings::from_values(&values, &invocation).map_err(Stop::Invalid)
}

fn config_file(values: &Values, environment: &[(String, String)]) -> Option<String> {
    let variable = || environment.iter().find(|(key, _)| key == "ETCD_CONFIG_FILE");
    let path = match values.get("config-file") {
        path if path.is_empty() => variable()?.1.clone(),
        path => path,
    };
    (!path.is_empty()).then_some(path)
}

fn read_file(path: &str) -> Result<Values, Stop> {
    let invalid = |why: String| Stop::Invalid(format!("config file {path}: {why}"));
    let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let mut values = Values::default();
    file::read(&text, &mut values).map_err(invalid)?;
    values.remarks.push(format!(
        "loaded server configuration from {path}, other configuration command line flags and \
         environment variables will be ignored if provided"
    ));
    Ok(values)
}
