//! Instances that go one by one, seen by a file that follows them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::{LeaseGrantRequest, PutRequest};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::Expiry;
use crate::figures::{Figure, percentile};
use crate::server::{Server, own_berth};

/// Between two ends: no part of a renewal's time, so that all parts of it are met.
const BETWEEN: Duration = Duration::from_millis(137);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(1);
/// For all to be named, or to be gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of berth's, killed when dropped.
struct Running(Child);

impl Running {
    fn start(args: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(own_berth()?);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file that names all instances, looked at all the time.
struct Named {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
    _templater: Running,
}

#[derive(Default)]
struct Seen {
    now: HashSet<String>,
    /// When those who were named and are not any more were first missed.
    missed: HashMap<String, Instant>,
}

impl Seen {
    fn look(&mut self, file: &Path) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let now: HashSet<String> = text.split_whitespace().map(str::to_owned).collect();
        let at = Instant::now();
        self.missed.extend(self.now.difference(&now).map(|name| (name.clone(), at)));
        // Somebody who came back is not gone.
        self.missed.retain(|name, _| !now.contains(name));
        self.now = now;
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Named {
    fn follow(url: &str, directory: &Path) -> Result<Self, Box<dyn Error>> {
        for folder in ["conf.d", "templates"] {
            fs::create_dir(directory.join(folder))?;
        }
        let file = directory.join("names");
        let keys = r#"keys = ["/services/web", "/health/web"]"#;
        let dest = file.display();
        let resource = format!("[template]\nsrc = \"names\"\ndest = \"{dest}\"\n{keys}\n");
        fs::write(directory.join("conf.d/names.toml"), resource)?;
        let template = "{{ passing('web') | map(attribute='name') | join(' ') }}";
        fs::write(directory.join("templates/names"), template)?;
        let config = format!("--config={}", directory.display());
        let args = ["template".to_owned(), format!("--endpoints={url}"), config];
        let templater = Running::start(&args)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        let looking = tokio::spawn(async move {
            loop {
                lock(&shared).look(&file);
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { seen, looking, _templater: templater })
    }

    async fn until<T>(
        &self,
        what: &str,
        found: impl Fn(&Seen) -> Option<T>,
    ) -> Result<T, Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(&lock(&self.seen)) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(format!("{what}: not within {PATIENCE:?}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn until_named(&self, count: usize) -> Result<(), Box<dyn Error>> {
        self.until("all are named", |seen| (seen.now.len() == count).then_some(())).await
    }

    /// How long after its end each was gone.
    async fn gone(&self, ends: &[(String, Instant)]) -> Result<Vec<Duration>, Box<dyn Error>> {
        let mut times = Vec::new();
        for (name, end) in ends {
            let missed = self.until("all are gone", |seen| seen.missed.get(name).copied()).await?;
            times.push(missed.saturating_duration_since(*end));
        }
        Ok(times)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Whoever panicked with it has ended the measurement.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn measure(
    expiry: &Expiry,
    server: &Server,
    channel: &Channel,
    directory: &Path,
) -> Result<Vec<Figure>, Box<dyn Error>> {
    let named = Named::follow(server.client_url(), directory)?;
    let mut killed = kill(expiry, server.client_url(), &named).await?;
    let mut ended = end(expiry, channel, &named).await?;
    let ttl = Duration::from_secs(expiry.ttl_s);
    let mut beyond: Vec<Duration> = killed.iter().map(|time| time.saturating_sub(ttl)).collect();
    Ok(vec![
        percentile(&mut killed, 50),
        percentile(&mut killed, 99),
        percentile(&mut killed, 100),
        percentile(&mut beyond, 99),
        percentile(&mut ended, 50),
        percentile(&mut ended, 99),
        percentile(&mut ended, 100),
    ])
}

/// From SIGKILL of a sidecar on.
async fn kill(expiry: &Expiry, url: &str, named: &Named) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut sidecars = Vec::new();
    for at in 0..expiry.instances {
        let args = [
            "register".to_owned(),
            format!("--endpoints={url}"),
            "--service=web".to_owned(),
            format!("--instance=killed-{at}"),
            "--address=10.0.0.1".to_owned(),
            "--port=80".to_owned(),
            format!("--ttl={}s", expiry.ttl_s),
        ];
        sidecars.push((format!("killed-{at}"), Running::start(&args)?));
    }
    named.until_named(expiry.instances).await?;
    let mut ends = Vec::new();
    for (name, sidecar) in sidecars {
        tokio::time::sleep(BETWEEN).await;
        ends.push((name, Instant::now()));
        drop(sidecar);
    }
    named.gone(&ends).await
}

/// From the end of a lease on, which is its time after the answer that granted it at the latest.
async fn end(
    expiry: &Expiry,
    channel: &Channel,
    named: &Named,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let ttl = i64::try_from(expiry.ttl_s)?;
    let (mut leases, mut kv) = (LeaseClient::new(channel.clone()), KvClient::new(channel.clone()));
    let mut ends = Vec::new();
    for at in 0..expiry.instances {
        tokio::time::sleep(BETWEEN).await;
        let lease = leases.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id;
        let end = Instant::now() + Duration::from_secs(expiry.ttl_s);
        let name = format!("ends-{at}");
        let put = PutRequest {
            key: format!("/services/web/{name}").into(),
            value: r#"{"address":"10.0.0.1","port":80}"#.into(),
            lease,
            ..PutRequest::default()
        };
        kv.put(put).await?;
        ends.push((name, end));
    }
    named.gone(&ends).await
}
