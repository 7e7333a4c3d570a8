//! The server's flags for the orchestrator. They are berth's own, so they stand apart from etcd's.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use sched::agent::ClusterDns;
use sched::scheduler::Strategy;

use super::runtime::Choice;
use crate::config::OwnFlags;

/// What `berth serve --help` says of them.
pub(crate) const HELP: &str = "
Orchestrator (each also as BERTH_NAME in the environment):
  --orchestrator 'off'
      off, control (API server, controllers, scheduler), or all (an agent on this machine too).
      Without any argument berth serves all.
  --api-listen '127.0.0.1:8080'
      address of the Kubernetes API. Without certificates only loopback addresses are taken.
  --api-cert-file, --api-key-file ''
      serve it over TLS with this certificate
  --api-client-ca-file ''
      clients with certificates of this authority are known: common name = user, organisation = group
  --api-token-file ''
      lines of TOKEN,USER,UID[,\"GROUP,GROUP\"]: bearers of these tokens are known
  --api-audit-file ''
      one JSON line for each request goes to this file
  --scheduler-strategy 'LeastAllocated'
      which node a pod goes to, all else being equal: LeastAllocated spreads, MostAllocated packs
  --agent-runtime 'auto'
      what runs containers here: auto, docker, runc, crun or fake
  --agent-root ''
      where the agent keeps volumes and images; beside the data directory unless it is set
  --agent-cluster-dns ''
      who answers pods for names of services: an address, or off. The agent does unless it is set
";

/// How much of the orchestrator runs in this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    #[default]
    Off,
    /// API server, controllers and scheduler.
    Control,
    /// An agent too.
    All,
}

/// As the operator asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    pub(crate) extent: Extent,
    /// Nobody asked for it: a port that is taken is no reason not to serve the store.
    pub(crate) is_default: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) audit: Option<PathBuf>,
    pub(crate) strategy: Strategy,
    pub(crate) runtime: Choice,
    pub(crate) agent_root: Option<PathBuf>,
    pub(crate) cluster_dns: ClusterDns,
}

const NAMES: &[&str] = &[
    "orchestrator",
    "api-listen",
    "api-cert-file",
    "api-key-file",
    "api-client-ca-file",
    "api-token-file",
    "api-audit-file",
    "scheduler-strategy",
    "agent-runtime",
    "agent-root",
    "agent-cluster-dns",
];

/// Takes the orchestrator's flags out of the server's. `is_alone`: berth was called without any
/// argument.
///
/// # Errors
/// One line: which flag is wrong, and what it takes.
pub(crate) fn take(
    arguments: &mut Vec<OsString>,
    environment: &[(String, String)],
    is_alone: bool,
) -> Result<Flags, String> {
    let own = OwnFlags::take(NAMES, arguments, environment)?;
    of_values(|name| own.get(name), is_alone)
}

fn of_values(get: impl Fn(&str) -> Option<String>, is_alone: bool) -> Result<Flags, String> {
    let asked = get("orchestrator");
    let extent = match asked.as_deref() {
        None if is_alone => Extent::All,
        None | Some("off" | "false") => Extent::Off,
        Some("control" | "true") => Extent::Control,
        Some("all") => Extent::All,
        Some(other) => return Err(format!("--orchestrator={other}: expected off, control or all")),
    };
    let listen = match get("api-listen") {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        Some(text) => text
            .parse()
            .map_err(|_| format!("--api-listen={text}: expected IP:PORT, as 127.0.0.1:8080"))?,
    };
    let path = |name: &str| get(name).map(PathBuf::from);
    let certificate = match (path("api-cert-file"), path("api-key-file")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err("--api-cert-file and --api-key-file need each other".to_owned()),
    };
    let strategy = match get("scheduler-strategy") {
        None => Strategy::default(),
        Some(text) => text.parse().map_err(|why| format!("--scheduler-strategy={text}: {why}"))?,
    };
    let runtime = match get("agent-runtime") {
        None => Choice::Auto,
        Some(text) => Choice::from_str(&text, true).map_err(|_| {
            format!("--agent-runtime={text}: expected auto, docker, runc, crun or fake")
        })?,
    };
    let cluster_dns = match get("agent-cluster-dns") {
        None => ClusterDns::default(),
        Some(text) => text.parse().map_err(|why| format!("--agent-cluster-dns={text}: {why}"))?,
    };
    let flags = Flags {
        extent,
        is_default: asked.is_none(),
        listen,
        certificate,
        client_ca: path("api-client-ca-file"),
        tokens: path("api-token-file"),
        audit: path("api-audit-file"),
        strategy,
        runtime,
        agent_root: path("agent-root"),
        cluster_dns,
    };
    check(&flags)?;
    Ok(flags)
}

/// Whether what was asked for fits together.
///
/// # Errors
/// One line: what must be added.
pub(super) fn check(flags: &Flags) -> Result<(), String> {
    let knows_callers = flags.client_ca.is_some() || flags.tokens.is_some();
    if flags.certificate.is_none() && knows_callers {
        let line = "--api-client-ca-file and --api-token-file need TLS: add --api-cert-file and \
                    --api-key-file";
        return Err(line.to_owned());
    }
    if flags.certificate.is_some() && !knows_callers {
        let line = "over TLS callers must be known: add --api-client-ca-file or --api-token-file";
        return Err(line.to_owned());
    }
    if flags.certificate.is_none() && !flags.listen.ip().is_loopback() {
        return Err(format!(
            "--api-listen={}: without TLS everybody who reaches it may do everything, so it must \
             be a loopback address; add --api-cert-file and --api-key-file",
            flags.listen
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &[&str], variables: &[(&str, &str)]) -> Result<(Flags, Vec<OsString>), String> {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: Vec<_> = variables.iter().map(own).collect();
        let is_alone = arguments.is_empty();
        take(&mut arguments, &environment, is_alone).map(|flags| (flags, arguments))
    }

    #[test]
    fn the_orchestrators_flags_are_taken_out() {
        // Proves that only our flags are taken, in all forms, that the environment counts, and
        // that without arguments everything runs and with some nothing does.
        let (flags, rest) = taken(&[], &[]).unwrap();
        assert_eq!((flags.extent, flags.is_default, rest.len()), (Extent::All, true, 0));
        let (flags, rest) = taken(&["--name", "a"], &[]).unwrap();
        assert_eq!((flags.extent, rest.len()), (Extent::Off, 2));
        assert_eq!(flags.strategy, Strategy::LeastAllocated);
        let words = ["--name=a", "--orchestrator", "control", "-api-listen=127.0.0.1:9"];
        let (flags, rest) = taken(&words, &[("BERTH_AGENT_RUNTIME", "fake")]).unwrap();
        assert_eq!((flags.extent, flags.runtime), (Extent::Control, Choice::Fake));
        assert_eq!((flags.listen.port(), rest.len()), (9, 1));
        let (flags, _) = taken(&["--scheduler-strategy=MostAllocated"], &[]).unwrap();
        assert_eq!(flags.strategy, Strategy::MostAllocated);
        assert_eq!(flags.cluster_dns, ClusterDns::Own);
        let (flags, _) = taken(&["--agent-cluster-dns=off"], &[]).unwrap();
        assert_eq!(flags.cluster_dns, ClusterDns::Off);
        let (flags, _) = taken(&["--agent-cluster-dns=10.0.0.7"], &[]).unwrap();
        assert_eq!(flags.cluster_dns, ClusterDns::At([10, 0, 0, 7].into()));
        let off = [("BERTH_ORCHESTRATOR", "off")];
        assert_eq!(taken(&[], &off).unwrap().0.extent, Extent::Off);
    }

    #[test]
    fn what_would_be_open_to_all_is_refused() {
        // Proves that plain HTTP stays on this machine and that TLS comes with known callers.
        for words in [
            &["--api-listen=0.0.0.0:8080"][..],
            &["--api-cert-file=a", "--api-key-file=b"],
            &["--api-cert-file=a"],
            &["--api-token-file=a"],
            &["--orchestrator=some"],
            &["--scheduler-strategy=Least"],
            &["--agent-cluster-dns=here"],
            &["--api-listen"],
        ] {
            assert!(taken(words, &[]).is_err(), "{words:?}");
        }
    }
}
