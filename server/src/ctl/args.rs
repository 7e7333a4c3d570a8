//! The command line: every verb and flag, as etcdctl spells them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::auth::AuthVerb;
use super::check::CheckVerb;
use super::endpoint::EndpointVerb;
use super::kv::{Compaction, Del, Get, Put};
use super::lease::LeaseVerb;
use super::lock::{Elect, Lock};
use super::maintenance::SnapshotVerb;
use super::make_mirror::MakeMirror;
use super::member::MemberVerb;
use super::role::RoleVerb;
use super::txn::Txn;
use super::user::UserVerb;
use super::watch::Watch;

/// A command line client of berth, with etcdctl's verbs, flags and output.
#[derive(Debug, Parser)]
#[command(name = "berth ctl", disable_version_flag = true, propagate_version = false)]
pub(super) struct Ctl {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Gets the key or a range of keys
    Get(Get),
    /// Puts the given key into the store
    Put(Put),
    /// Prints a new identity to seal values to: keep it secret, give its recipient away
    SealKeygen,
    /// Removes the specified key or range of keys [key, range_end)
    Del(Del),
    /// Txn processes all the requests in one transaction
    Txn(Txn),
    /// Watches events stream on keys or prefixes
    Watch(Watch),
    /// Compacts the event history
    Compaction(Compaction),
    /// Acquires a named lock
    Lock(Lock),
    /// Observes and participates in leader election
    Elect(Elect),
    /// Lease related commands
    Lease {
        #[command(subcommand)]
        verb: LeaseVerb,
    },
    /// Endpoint related commands
    Endpoint {
        #[command(subcommand)]
        verb: EndpointVerb,
        /// use all endpoints from the cluster member list
        #[arg(long, global = true)]
        cluster: bool,
    },
    /// Alarm related commands
    Alarm {
        #[command(subcommand)]
        verb: AlarmVerb,
    },
    /// Defragments the storage of the members with given endpoints
    Defrag {
        /// use all endpoints from the cluster member list
        #[arg(long)]
        cluster: bool,
    },
    /// Manages node snapshots
    Snapshot {
        #[command(subcommand)]
        verb: SnapshotVerb,
    },
    /// User related commands
    User {
        #[command(subcommand)]
        verb: UserVerb,
    },
    /// Role related commands
    Role {
        #[command(subcommand)]
        verb: RoleVerb,
    },
    /// Enable or disable authentication
    Auth {
        #[command(subcommand)]
        verb: AuthVerb,
    },
    /// Membership related commands
    Member {
        #[command(subcommand)]
        verb: MemberVerb,
    },
    /// Makes a mirror at the destination etcd cluster
    MakeMirror(MakeMirror),
    /// Checks properties of the etcd cluster
    Check {
        #[command(subcommand)]
        verb: CheckVerb,
    },
    /// Prints a script that completes the commands of `etcdctl`, a link to berth; `berth completion`
    /// prints one for `berth`
    Completion { shell: Shell },
    /// Prints the version of etcdctl
    Version,
    /// Transfers leadership to another etcd cluster member.
    MoveLeader {
        /// the new leader's id, hexadecimal
        id: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AlarmVerb {
    /// Lists all alarms
    List,
    /// Disarms all alarms
    Disarm,
}

/// Flags that stand before or after any verb, each also `ETCDCTL_` + its name in upper case.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// gRPC endpoints
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_ENDPOINTS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379"
    )]
    pub(crate) endpoints: Vec<String>,
    /// username[:password] for authentication
    #[arg(long, global = true, env = "ETCDCTL_USER", hide_env_values = true)]
    pub(crate) user: Option<String>,
    /// password for authentication (then --user holds the name alone)
    #[arg(long, global = true, env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// set the output format
    #[arg(short = 'w', long, global = true, env = "ETCDCTL_WRITE_OUT", default_value = "simple")]
    pub(crate) write_out: Format,
    /// print byte strings as hex encoded strings
    #[arg(long, global = true, env = "ETCDCTL_HEX")]
    pub(crate) hex: bool,
    /// timeout for short running command (excluding dial timeout)
    #[arg(long, global = true, env = "ETCDCTL_COMMAND_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub(crate) command_timeout: Duration,
    /// dial timeout for client connections
    #[arg(long, global = true, env = "ETCDCTL_DIAL_TIMEOUT", default_value = "2s", value_parser = duration)]
    pub(crate) dial_timeout: Duration,
    /// keepalive time for client connections
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIME", default_value = "2s", value_parser = duration)]
    pub(crate) keepalive_time: Duration,
    /// keepalive timeout for client connections
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIMEOUT", default_value = "6s", value_parser = duration)]
    pub(crate) keepalive_timeout: Duration,
    /// verify certificates of TLS-enabled secure servers using this CA bundle
    #[arg(long, global = true, env = "ETCDCTL_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// identify secure client using this TLS certificate file
    #[arg(long, global = true, env = "ETCDCTL_CERT")]
    pub(crate) cert: Option<PathBuf>,
    /// identify secure client using this TLS key file
    #[arg(long, global = true, env = "ETCDCTL_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// skip server certificate verification (CAUTION: anybody may then pose as the server)
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY", num_args = 0..=1,
        require_equals = true, default_value_t = false, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// disable transport security for endpoints that name no scheme
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_INSECURE_TRANSPORT",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub(crate) insecure_transport: bool,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Simple,
    Json,
    Fields,
    Table,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 500ms or 5s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Proves that the tree of verbs and flags is consistent (clap checks it in debug builds).
    #[test]
    fn command_tree_is_well_formed() {
        Ctl::command().debug_assert();
    }

    /// Proves that etcdctl's way of writing flags is understood, before and after the verb.
    #[test]
    fn flags_stand_anywhere() {
        let ctl = Ctl::try_parse_from(["ctl", "get", "--prefix", "k", "-w", "json", "--hex"]);
        assert_eq!(ctl.unwrap().global.write_out, Format::Json);
        let ctl = Ctl::try_parse_from(["ctl", "--endpoints=a:1,b:2", "get", "k"]).unwrap();
        assert_eq!(ctl.global.endpoints, ["a:1", "b:2"]);
        assert!(Ctl::try_parse_from(["ctl", "get", "k", "--command-timeout=soon"]).is_err());
    }
}
