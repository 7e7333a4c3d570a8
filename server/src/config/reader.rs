//! One typed group of settings after the other, out of canonical values.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use super::auth_token::{self, AuthToken};
use super::cluster::InitialCluster;
use super::settings::{Addresses, Limits, LogSettings, Membership, TraceSettings};
use super::urls::{self, Url};
use super::values::Values;
use super::{Invocation, REQUEST_BYTES_MAX, table};

/// etcd's `DefaultQuotaBytes`.
const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
const ELECTION_MS_MAX: u64 = 50_000;
const TRACED_PER_MILLION_MAX: u32 = 1_000_000;
/// What bcrypt itself allows.
const BCRYPT_COST: std::ops::RangeInclusive<u64> = 4..=31;

pub(super) struct Reader<'a> {
    pub values: &'a Values,
}

impl Reader<'_> {
    pub(super) fn flag(&self, name: &str) -> bool {
        self.values.get(name) == "true"
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.values.get(name).parse().expect("canonical unsigned value")
    }

    fn number32(&self, name: &str) -> u32 {
        self.values.get(name).parse().expect("canonical value of a flag bounded to 32 bits")
    }

    /// Zero for what was negative: both mean "never" wherever etcd takes durations.
    pub(super) fn duration(&self, name: &str) -> Duration {
        let value = self.values.get(name);
        let ns: i64 =
            value.strip_suffix("ns").and_then(|ns| ns.parse().ok()).expect("canonical duration");
        Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }

    fn urls(&self, name: &str) -> Vec<Url> {
        urls::parse_list(&self.values.get(name)).expect("canonical list of URLs")
    }

    pub(super) fn addresses(&self, from_file: bool) -> Result<Addresses, String> {
        // With its own listen addresses a member must say what it advertises; etcd lets the
        // config file off.
        let explicit = |name| self.values.is_set(name);
        if explicit("listen-client-urls") && !explicit("advertise-client-urls") && !from_file {
            return Err("--advertise-client-urls is required when --listen-client-urls is set \
                        explicitly"
                .to_owned());
        }
        let addresses = Addresses {
            listen_client: self.urls("listen-client-urls"),
            listen_client_http: self.urls("listen-client-http-urls"),
            listen_metrics: self.urls("listen-metrics-urls"),
            listen_peer: self.urls("listen-peer-urls"),
            advertise_client: self.advertised("advertise-client-urls", "listen-client-urls"),
            advertise_peer: self.advertised("initial-advertise-peer-urls", "listen-peer-urls"),
            reuse_port: self.flag("socket-reuse-port"),
            reuse_address: self.flag("socket-reuse-address"),
        };
        check_addresses(&addresses)?;
        Ok(addresses)
    }

    /// What is advertised; when nobody said and the listener takes any address, this machine's.
    fn advertised(&self, name: &str, listen: &str) -> Vec<Url> {
        let mut advertised = self.urls(name);
        let listening = self.urls(listen);
        let anywhere = listening.first().filter(|url| url.host() == "0.0.0.0");
        if let (Some(url), false, Some(host)) = (anywhere, self.values.is_set(name), own_address())
        {
            advertised[0].address = format!("{host}:{}", url.port());
        }
        advertised
    }

    pub(super) fn initial_cluster(
        &self,
        name: &str,
        addresses: &Addresses,
    ) -> Result<InitialCluster, String> {
        let default = table::find("initial-cluster").map(|flag| flag.default);
        let mut initial = self.values.get("initial-cluster");
        if Some(initial.as_str()) == default {
            let entry = |url: &Url| format!("{name}={url}");
            initial = addresses.advertise_peer.iter().map(entry).collect::<Vec<_>>().join(",");
        }
        let token = self.values.get("initial-cluster-token");
        InitialCluster::of(name, &initial, &token, &addresses.advertise_peer)
    }

    pub(super) fn membership(&self) -> Membership {
        Membership {
            strict_reconfig: self.flag("strict-reconfig-check"),
            learners_max: self.number32("max-learners"),
            auto_promote: self.flag("auto-promote-learners"),
            serve_learner_reads: self.flag("serve-learner-reads"),
        }
    }

    pub(super) fn data_dir(&self, name: &str, invocation: &Invocation) -> PathBuf {
        match self.values.get("data-dir") {
            dir if dir.is_empty() && invocation.as_etcd => format!("{name}.etcd").into(),
            dir if dir.is_empty() => format!("{name}.berth").into(),
            dir => dir.into(),
        }
    }

    pub(super) fn limits(&self, invocation: &Invocation) -> Result<Limits, String> {
        let quota: i64 = self.values.get("quota-backend-bytes").parse().expect("canonical integer");
        let interval = self.duration("grpc-keepalive-interval");
        let timeout = self.duration("grpc-keepalive-timeout");
        Ok(Limits {
            quota_bytes: match quota {
                0 => Some(QUOTA_BYTES_DEFAULT),
                quota => u64::try_from(quota).ok(),
            },
            auto_disarm_nospace: self.convenience("auto-disarm-nospace", invocation),
            txn_ops_max: self.number32("max-txn-ops"),
            request_bytes_max: self.request_bytes_max()?,
            concurrent_streams_max: self.number32("max-concurrent-streams"),
            // etcd pings only when both are above zero.
            keepalive_interval: Some(interval).filter(|i| !i.is_zero() && !timeout.is_zero()),
            keepalive_timeout: timeout,
        })
    }

    /// A flag that is on when the program was started without any argument.
    pub(super) fn convenience(&self, name: &str, invocation: &Invocation) -> bool {
        match self.values.is_set(name) {
            true => self.flag(name),
            false => invocation.bare,
        }
    }

    fn request_bytes_max(&self) -> Result<u32, String> {
        match self.number32("max-request-bytes") {
            bytes @ 0..=REQUEST_BYTES_MAX => Ok(bytes),
            bytes => Err(format!(
                "--max-request-bytes={bytes} is too much: members send each other at most \
                 {REQUEST_BYTES_MAX}"
            )),
        }
    }

    /// Heartbeat and election timeout in milliseconds.
    pub(super) fn timing(&self) -> Result<(u64, u64), String> {
        let heartbeat = self.number("heartbeat-interval");
        let election = self.number("election-timeout");
        if heartbeat == 0 {
            return Err("--heartbeat-interval must be >0 (set to 0ms)".to_owned());
        }
        if election == 0 {
            return Err("--election-timeout must be >0 (set to 0ms)".to_owned());
        }
        if heartbeat.saturating_mul(5) > election {
            return Err(format!(
                "--election-timeout[{election}ms] should be at least as 5 times as \
                 --heartbeat-interval[{heartbeat}ms]"
            ));
        }
        if election > ELECTION_MS_MAX {
            return Err(format!(
                "--election-timeout[{election}ms] is too long, and should be set less than \
                 {ELECTION_MS_MAX}ms"
            ));
        }
        Ok((heartbeat, election))
    }

    /// The kind of tokens, and what of it the operator should know.
    pub(super) fn auth_token(&self) -> Result<(AuthToken, Vec<String>), String> {
        let ttl = Duration::from_secs(self.number("auth-token-ttl"));
        auth_token::read(&self.values.get("auth-token"), ttl)
    }

    pub(super) fn bcrypt_cost(&self) -> Result<u32, String> {
        let cost = self.number("bcrypt-cost");
        match u32::try_from(cost) {
            Ok(cost) if BCRYPT_COST.contains(&u64::from(cost)) => Ok(cost),
            _ => Err(format!("--bcrypt-cost must be between 4 and 31 (set to {cost})")),
        }
    }

    /// Where spans go, if anywhere.
    pub(super) fn traces(&self) -> Result<Option<TraceSettings>, String> {
        if !self.flag("enable-distributed-tracing") {
            return Ok(None);
        }
        let per_million = self.number32("distributed-tracing-sampling-rate");
        if per_million > TRACED_PER_MILLION_MAX {
            return Err(format!(
                "tracing sampling rate must be less than {TRACED_PER_MILLION_MAX}"
            ));
        }
        Ok(Some(TraceSettings {
            address: self.values.get("distributed-tracing-address"),
            service_name: self.values.get("distributed-tracing-service-name"),
            instance_id: self.values.get("distributed-tracing-instance-id"),
            per_million,
        }))
    }

    pub(super) fn log(&self) -> Result<LogSettings, String> {
        let outputs = self.values.get("log-outputs");
        let outputs: Vec<String> = outputs
            .split(',')
            .map(|output| if output == "default" { "stderr" } else { output }.to_owned())
            .collect();
        match outputs.iter().find(|output| output.is_empty() || *output == "systemd/journal") {
            Some(output) => Err(format!(
                "--log-outputs={output} is not supported by berth: stderr reaches the journal"
            )),
            None => Ok(LogSettings {
                level: self.values.get("log-level"),
                console: self.values.get("log-format") == "console",
                outputs,
            }),
        }
    }
}

fn check_addresses(addresses: &Addresses) -> Result<(), String> {
    let listening = [
        ("listen-peer-urls", &addresses.listen_peer),
        ("listen-client-urls", &addresses.listen_client),
        ("listen-client-http-urls", &addresses.listen_client_http),
        ("listen-metrics-urls", &addresses.listen_metrics),
    ];
    for (name, list) in listening {
        urls::check_bind(list)?;
        if let Some(url) = list.iter().find(|url| url.is_unix()) {
            return Err(format!(
                "--{name}={url} is not supported by berth: this scheme is not served yet"
            ));
        }
    }
    if let Some((name, _)) = listening[..2].iter().find(|(_, list)| list.is_empty()) {
        return Err(format!("--{name} must name an address"));
    }
    urls::check_host(&addresses.advertise_peer).map_err(|error| {
        let list = urls::join(&addresses.advertise_peer);
        format!("--initial-advertise-peer-urls {list:?} must be \"host:port\" ({error})")
    })?;
    urls::check_host(&addresses.advertise_client).map_err(|error| {
        let list = urls::join(&addresses.advertise_client);
        format!(
            "--advertise-client-urls {list:?} must be in the format \"host:port\", \
             \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" ({error})"
        )
    })
}

/// The address this machine would use towards others, if it has a route at all. Connecting a UDP
/// socket sends nothing; the target is one of the addresses reserved for documentation.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
