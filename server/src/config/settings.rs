//! Values become settings: typed, checked against each other, with etcd's words for what is wrong.

use std::path::PathBuf;
use std::time::Duration;

use super::auth_token::AuthToken;
use super::cluster::InitialCluster;
use super::compaction::{self, AutoCompaction};
use super::reader::Reader;
use super::table::Disposition;
use super::tls::{self, ClientTlsSettings, PeerTlsSettings};
use super::urls::Url;
use super::values::Values;
use super::{Invocation, gates};

/// Everything the server needs to know to start.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// As the flags name it, or what is wrong with them. Of no account where there is data: a
    /// member stays what it was at its first start.
    pub initial_cluster: Result<InitialCluster, String>,
    /// Begin the initial cluster; else join the one that its members are in.
    pub new_cluster: bool,
    /// Make this member the only one, whatever its log says.
    pub force_new_cluster: bool,
    pub membership: Membership,
    pub data_dir: PathBuf,
    pub wal_dir: Option<PathBuf>,
    pub addresses: Addresses,
    /// For client addresses with `https`.
    pub client_tls: Option<ClientTlsSettings>,
    /// For peer addresses with `https`.
    pub peer_tls: Option<PeerTlsSettings>,
    pub limits: Limits,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    pub auto_compaction: Option<AutoCompaction>,
    pub auth_token: AuthToken,
    pub bcrypt_cost: u32,
    pub progress_notify_interval: Duration,
    /// `None`: the members are not compared.
    pub corrupt_check_interval: Option<Duration>,
    /// Compare this member with the others before it serves.
    pub initial_corrupt_check: bool,
    /// `None`: leases are not checkpointed.
    pub lease_checkpoint_interval: Option<Duration>,
    pub unsafe_no_fsync: bool,
    /// Serve the v2 API.
    pub enable_v2: bool,
    pub log: LogSettings,
    pub extensive_metrics: bool,
    /// `None`: no traces.
    pub traces: Option<TraceSettings>,
    /// Serve a CPU profile.
    pub profile: bool,
    pub slow_request: Duration,
    /// Serve the JSON gateway.
    pub gateway: bool,
    /// Origins whose pages may read answers to HTTP; `*` is any.
    pub cors: Vec<String>,
    /// What the operator should read at start.
    pub notices: Vec<Notice>,
}

#[derive(Clone, Debug)]
pub struct Addresses {
    pub listen_client: Vec<Url>,
    pub listen_client_http: Vec<Url>,
    pub listen_metrics: Vec<Url>,
    pub listen_peer: Vec<Url>,
    pub advertise_client: Vec<Url>,
    pub advertise_peer: Vec<Url>,
    pub reuse_port: bool,
    pub reuse_address: bool,
}

impl Addresses {
    /// All addresses that clients and operators connect to.
    pub fn for_clients(&self) -> impl Iterator<Item = &Url> {
        self.listen_client.iter().chain(&self.listen_client_http).chain(&self.listen_metrics)
    }
}

/// What is allowed of changes of members, and to learners.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    pub strict_reconfig: bool,
    pub learners_max: u32,
    pub auto_promote: bool,
    pub serve_learner_reads: bool,
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// `None`: no quota.
    pub quota_bytes: Option<u64>,
    pub auto_disarm_nospace: bool,
    pub txn_ops_max: u32,
    pub request_bytes_max: u32,
    pub concurrent_streams_max: u32,
    /// `None`: no pings.
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
}

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Host and port.
    pub address: String,
    pub service_name: String,
    /// Empty: none.
    pub instance_id: String,
    /// Of a million calls, those that are traced though their caller does not trace them.
    pub per_million: u32,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub level: String,
    pub console: bool,
    /// `stderr`, `stdout` or a file's path.
    pub outputs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something the operator may want to change.
    Warning(String),
    /// A flag that was set and changes nothing here: its name, its value, why.
    NoEffect { flag: &'static str, value: String, reason: &'static str },
    /// A remark without a flag of its own.
    Remark(String),
}

/// Above this etcd warns that the quota is larger than what it recommends.
const QUOTA_BYTES_ADVISED_MAX: u64 = 8 << 30;
/// Above this etcd warns that requests may be too large.
const REQUEST_BYTES_ADVISED_MAX: u32 = 10 << 20;

impl Settings {
    /// # Errors
    /// One line for the operator.
    pub fn from_values(values: &Values, invocation: &Invocation) -> Result<Self, String> {
        let reader = Reader { values };
        let mut notices = dispositions(values)?;
        let name = values.get("name");
        let addresses = reader.addresses(invocation.from_file)?;
        let data_dir = reader.data_dir(&name, invocation);
        let client_tls = tls::read_client(values, &addresses, &data_dir)?;
        let peer_tls = tls::read_peer(values, &addresses, &data_dir)?;
        let (heartbeat_ms, election_ms) = reader.timing()?;
        let (auth_token, unused) = reader.auth_token()?;
        notices.extend(unused.into_iter().map(Notice::Warning));
        let mut settings = Self {
            initial_cluster: reader.initial_cluster(&name, &addresses),
            new_cluster: values.get("initial-cluster-state") == "new",
            force_new_cluster: reader.flag("force-new-cluster"),
            membership: reader.membership(),
            data_dir,
            wal_dir: Some(values.get("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            client_tls,
            peer_tls,
            limits: reader.limits(invocation)?,
            heartbeat_ms,
            election_ms,
            auto_compaction: compaction::parse(
                &values.get("auto-compaction-mode"),
                &values.get("auto-compaction-retention"),
            )?,
            auth_token,
            bcrypt_cost: reader.bcrypt_cost()?,
            progress_notify_interval: reader.duration("watch-progress-notify-interval"),
            corrupt_check_interval: Some(reader.duration("corrupt-check-time"))
                .filter(|interval| !interval.is_zero()),
            initial_corrupt_check: gates::is_on(
                &values.get("feature-gates"),
                gates::INITIAL_CORRUPT_CHECK,
            ),
            lease_checkpoint_interval: Some(reader.duration("lease-checkpoint-interval"))
                .filter(|interval| !interval.is_zero()),
            unsafe_no_fsync: reader.flag("unsafe-no-fsync"),
            enable_v2: reader.convenience("enable-v2", invocation),
            log: reader.log()?,
            extensive_metrics: values.get("metrics") == "extensive",
            traces: reader.traces()?,
            profile: reader.flag("enable-pprof"),
            slow_request: reader.duration("warning-unary-request-duration"),
            gateway: reader.flag("enable-grpc-gateway"),
            cors: values.get("cors").split(',').map(|word| word.trim().to_owned()).collect(),
            name,
            addresses,
            notices,
        };
        settings.advise();
        Ok(settings)
    }

    /// Where the log is, given or not.
    pub fn wal_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join("wal"))
    }

    /// Warnings that etcd gives for values it takes.
    fn advise(&mut self) {
        let mut warn = |text: String| self.notices.push(Notice::Warning(text));
        if self.limits.quota_bytes.is_some_and(|quota| quota > QUOTA_BYTES_ADVISED_MAX) {
            warn(format!(
                "quota exceeds the recommended maximum of {QUOTA_BYTES_ADVISED_MAX} bytes"
            ));
        }
        if self.limits.request_bytes_max > REQUEST_BYTES_ADVISED_MAX {
            warn(format!(
                "max-request-bytes exceeds the recommended maximum of {REQUEST_BYTES_ADVISED_MAX}"
            ));
        }
        if self.client_tls.is_some()
            && let Some(url) = self.addresses.for_clients().find(|url| !url.is_tls())
        {
            warn(format!(
                "{url}: scheme is http, so its clients get no TLS in spite of --cert-file"
            ));
        }
        if self.peer_tls.is_some()
            && let Some(url) = self.addresses.listen_peer.iter().find(|url| !url.is_tls())
        {
            warn(format!(
                "{url}: scheme is http, so members that come here get no TLS in spite of \
                 --peer-cert-file"
            ));
        }
        if self.unsafe_no_fsync {
            warn("--unsafe-no-fsync: acknowledged writes are lost when the machine stops".into());
        }
    }
}

/// Goes through everything that was set: refuses by name, notes what has no effect.
fn dispositions(values: &Values) -> Result<Vec<Notice>, String> {
    let mut notices: Vec<Notice> = values.warnings.iter().cloned().map(Notice::Warning).collect();
    notices.extend(values.remarks.iter().cloned().map(Notice::Remark));
    for flag in values.given() {
        let value = values.get(flag.name);
        let changed = values.changed().any(|(other, _)| other == flag);
        match flag.disposition {
            Disposition::Refused(reason) if changed => {
                return Err(format!("--{} is not supported by berth: {reason}", flag.name));
            }
            Disposition::Accepted(reason) => {
                notices.push(Notice::NoEffect { flag: flag.name, value, reason });
            }
            Disposition::Refused(_) | Disposition::Supported(_) => {}
        }
    }
    let gates = gates::check(&values.get("feature-gates"))?;
    notices.extend(gates.into_iter().map(|gate| Notice::Remark(format!("feature gate {gate}"))));
    Ok(notices)
}
