//! The flags, as etcdctl's make-mirror spells them where it has them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use super::mapping::Mapping;
use crate::ctl::args::Global;

/// Pings more often than every 5 s are punished by etcd, on connections that idle or only watch.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// etcd's default of --max-txn-ops.
const TXN_OPS: u32 = 128;

/// Keeps a live copy of one cluster's keys in another.
///
/// Credentials, TLS files and timeouts without `dest` are for the source.
#[derive(Debug, Parser)]
#[command(name = "berth mirror", disable_version_flag = true)]
pub(super) struct Mirror {
    #[command(flatten)]
    source: Global,
    /// Endpoints of the cluster to copy from, etcd or berth
    #[arg(long, value_delimiter = ',', required = true, value_name = "ENDPOINTS")]
    from: Vec<String>,
    /// Endpoints of the cluster to copy to, berth or etcd
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379", value_name = "ENDPOINTS")]
    to: Vec<String>,
    #[command(flatten)]
    destination: Destination,
    /// Copy the keys with this prefix only
    #[arg(long, default_value = "")]
    prefix: OsString,
    /// Put this in the place of the prefix
    #[arg(long, conflicts_with = "no_dest_prefix")]
    dest_prefix: Option<OsString>,
    /// Take the prefix off
    #[arg(long)]
    no_dest_prefix: bool,
    /// The key at the destination that holds how far the mirror has come [default: made of the
    /// source's cluster id and the prefixes]
    #[arg(long, value_name = "KEY")]
    checkpoint_key: Option<OsString>,
    /// Operations in one transaction, at most: the destination's --max-txn-ops
    #[arg(long, default_value_t = TXN_OPS, value_parser = clap::value_parser!(u32).range(2..))]
    max_txn_ops: u32,
    /// Replace what is at the destination before the first copy: keys that the source does not
    /// have are deleted there
    #[arg(long)]
    replace: bool,
    /// How often to report how far behind the source the copy is
    #[arg(long, default_value = "10s", value_parser = interval)]
    report_interval: Duration,
}

#[derive(Debug, Args)]
struct Destination {
    /// username[:password] at the destination
    #[arg(long, value_name = "USER")]
    dest_user: Option<String>,
    /// password at the destination (then --dest-user holds the name alone)
    #[arg(long, value_name = "PASSWORD")]
    dest_password: Option<String>,
    /// verify certificates of the destination's servers using this CA bundle
    #[arg(long, value_name = "FILE")]
    dest_cacert: Option<PathBuf>,
    /// identify this client at the destination using this TLS certificate file
    #[arg(long, value_name = "FILE")]
    dest_cert: Option<PathBuf>,
    /// identify this client at the destination using this TLS key file
    #[arg(long, value_name = "FILE")]
    dest_key: Option<PathBuf>,
    /// skip verification of the destination's certificates (CAUTION: anybody may then pose as it)
    #[arg(long)]
    dest_insecure_skip_tls_verify: bool,
    /// disable transport security for endpoints of the destination that name no scheme
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    dest_insecure_transport: bool,
}

impl Mirror {
    pub(super) fn parse(args: Vec<OsString>) -> Result<Self, clap::Error> {
        let name = std::iter::once(OsString::from("berth mirror"));
        let mut command = command();
        let matches = command.try_get_matches_from_mut(name.chain(args))?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    /// How to reach the source.
    pub(super) fn source(&self) -> Global {
        Global {
            endpoints: self.from.clone(),
            keepalive_time: self.source.keepalive_time.max(KEEPALIVE_MIN),
            ..self.source.clone()
        }
    }

    /// How to reach the destination.
    pub(super) fn destination(&self) -> Global {
        let own = &self.destination;
        Global {
            endpoints: self.to.clone(),
            user: own.dest_user.clone(),
            password: own.dest_password.clone(),
            cacert: own.dest_cacert.clone(),
            cert: own.dest_cert.clone(),
            key: own.dest_key.clone(),
            insecure_skip_tls_verify: own.dest_insecure_skip_tls_verify,
            insecure_transport: own.dest_insecure_transport,
            ..self.source()
        }
    }

    pub(super) fn mapping(&self) -> Mapping {
        let from = self.prefix.as_encoded_bytes();
        let to = match &self.dest_prefix {
            _ if self.no_dest_prefix => &[],
            Some(prefix) => prefix.as_encoded_bytes(),
            None => from,
        };
        Mapping::new(from, to)
    }

    pub(super) fn checkpoint_key(&self) -> Option<&[u8]> {
        self.checkpoint_key.as_ref().map(|key| key.as_encoded_bytes())
    }

    pub(super) fn ops_max(&self) -> usize {
        self.max_txn_ops as usize
    }

    pub(super) fn replace(&self) -> bool {
        self.replace
    }

    pub(super) fn report_interval(&self) -> Duration {
        self.report_interval
    }
}

/// Without what makes no sense here.
pub(super) fn command() -> clap::Command {
    let hidden = ["endpoints", "write_out", "hex", "command_timeout"];
    let hide = |command: clap::Command, name| command.mut_arg(name, |arg| arg.hide(true));
    hidden.into_iter().fold(Mirror::command(), hide)
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".into()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(format!("{error}; write it as 500ms or 5s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Mirror, clap::Error> {
        Mirror::parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn each_side_has_flags_of_its_own() {
        // Proves that the two sides do not share endpoints or credentials, and which prefix goes
        // where.
        command().debug_assert();
        let mirror = parse(&[
            "--from=a:1,b:2",
            "--user=u:p",
            "--cacert=from.crt",
            "--insecure-skip-tls-verify",
            "--dest-user=v:q",
            "--dest-cert=to.crt",
            "--prefix=p/",
        ]);
        let mirror = mirror.unwrap();
        assert_eq!(mirror.source().endpoints, ["a:1", "b:2"]);
        assert_eq!(mirror.destination().endpoints, ["127.0.0.1:2379"]);
        assert_eq!(mirror.source().user.unwrap(), "u:p");
        assert_eq!(mirror.destination().user.unwrap(), "v:q");
        assert_eq!(mirror.destination().cacert, None);
        assert_eq!(mirror.destination().cert, Some("to.crt".into()));
        assert!(!mirror.destination().insecure_skip_tls_verify);
        assert_eq!(mirror.source().cert, None);
        assert_eq!(mirror.mapping(), Mapping::new(b"p/", b"p/"));
        let bare = parse(&["--from=a:1", "--prefix=p/", "--no-dest-prefix"]).unwrap();
        assert_eq!(bare.mapping(), Mapping::new(b"p/", b""));
        assert!(parse(&["--prefix=p/"]).is_err(), "without --from");
        assert!(parse(&["--from=a:1", "--no-dest-prefix", "--dest-prefix=q"]).is_err());
        assert!(parse(&["--from=a:1", "--max-txn-ops=1"]).is_err());
        assert!(parse(&["--from=a:1", "--report-interval=0s"]).is_err());
    }
}
