//! Servers under measurement: started as processes of their own, stopped by process id.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::etcdserverpb::RangeRequest;
use api::etcdserverpb::kv_client::KvClient;
use bytes::Bytes;
use tonic::transport::Channel;

/// How long a server may take until it serves, before the measurement gives up.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to stop after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(60);

/// What to start: a name for the table, the program with its leading arguments, and where it
/// listens. The ports stay the same over restarts: a member's id comes from its peer URL.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: String,
    command: Vec<OsString>,
    client_url: String,
    peer_url: String,
}

impl Subject {
    pub(crate) fn new(name: String, command: Vec<OsString>) -> std::io::Result<Self> {
        let client_url = format!("http://127.0.0.1:{}", free_port()?);
        let peer_url = format!("http://127.0.0.1:{}", free_port()?);
        Ok(Self { name, command, client_url, peer_url })
    }

    /// What the program says of its version.
    pub(crate) fn version(&self) -> Result<String, Box<dyn Error>> {
        let program = self.command.first().ok_or("an empty command")?;
        let output = Command::new(program)
            .arg("--version")
            .output()
            .map_err(|error| format!("cannot start {}: {error}", program.to_string_lossy()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().take(2).collect::<Vec<_>>().join(", "))
    }

    /// The program with its leading arguments.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words);
        command
    }
}

/// A running server on a data directory.
pub(crate) struct Server {
    child: Child,
    client_url: String,
    log: PathBuf,
}

impl Server {
    /// Starts `subject` on `data_dir` and returns at once; see [`Server::first_read`]. What it logs
    /// goes to a file beside the directory.
    pub(crate) fn start(subject: &Subject, data_dir: &Path) -> Result<Self, Box<dyn Error>> {
        let Subject { client_url, peer_url, .. } = subject;
        let (program, arguments) = subject.command.split_first().ok_or("an empty command")?;
        let log_path = data_dir.with_extension("log");
        let log = fs::File::options().create(true).append(true).open(&log_path)?;
        let child = Command::new(program)
            .args(arguments)
            .arg("--data-dir")
            .arg(data_dir)
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster=default={peer_url}"))
            .arg("--quota-backend-bytes=8589934592")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.to_string_lossy()))?;
        Ok(Self { child, client_url: client_url.clone(), log: log_path })
    }

    /// Waits until a linearizable read is served; returns the connection that was used.
    pub(crate) async fn first_read(&mut self) -> Result<Channel, Box<dyn Error>> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("the server ended with {status}: {last}").into());
            }
            if let Some(channel) = self.try_read().await {
                return Ok(channel);
            }
            if Instant::now() > deadline {
                return Err(format!("no read was served within {START_MAX:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn try_read(&self) -> Option<Channel> {
        let endpoint = tonic::transport::Endpoint::from_shared(self.client_url.clone()).ok()?;
        let channel = endpoint.connect().await.ok()?;
        let key = Bytes::from_static(b"key");
        let request = RangeRequest { key, ..RangeRequest::default() };
        KvClient::new(channel.clone()).range(request).await.ok()?;
        Some(channel)
    }

    /// Where clients reach it.
    pub(crate) fn client_url(&self) -> &str {
        &self.client_url
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Box<dyn Error>> {
        self.memory_bytes("VmRSS:")
    }

    /// The most that was resident since it started, or since [`Self::forget_peak`].
    pub(crate) fn peak_bytes(&self) -> Result<u64, Box<dyn Error>> {
        self.memory_bytes("VmHWM:")
    }

    /// The peak begins at what is resident now.
    pub(crate) fn forget_peak(&self) -> Result<(), Box<dyn Error>> {
        // proc(5): 5 resets VmHWM.
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    fn memory_bytes(&self, field: &str) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or_else(|| format!("no {field}"))?.parse::<u64>()? * 1024)
    }

    /// Kills the server as a power cut would: nothing is told to it.
    pub(crate) fn kill(mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the server to stop and waits for it.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let deadline = Instant::now() + STOP_MAX;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("the server did not stop within {STOP_MAX:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also when a measurement fails: leave nothing running. Both fail on a server that ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The berth that was built beside this program.
pub(crate) fn own_berth() -> Result<PathBuf, Box<dyn Error>> {
    let berth = std::env::current_exe()?.with_file_name("berth");
    if berth.exists() {
        return Ok(berth);
    }
    Err(format!("{} is missing: build it first: cargo build --release", berth.display()).into())
}

/// Bytes in all files below `directory`, as allocated on disk.
pub(crate) fn disk_bytes(directory: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    const BLOCK_BYTES: u64 = 512;
    let mut total = 0;
    if !directory.exists() {
        return Ok(0);
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * BLOCK_BYTES
        };
    }
    Ok(total)
}

pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
