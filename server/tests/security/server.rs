//! Servers with TLS, berth or etcd, and command line clients for them.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Kind, Program};

use crate::certificates::{Authority, Pair};

/// No step of a sound server takes a fraction of this, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BERTH: &str = env!("CARGO_BIN_EXE_berth");

pub(crate) fn berth() -> Program {
    Program { kind: Kind::Berth, path: PathBuf::from(BERTH) }
}

/// Where a server lives; it outlives its runs.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) client: u16,
    pub(crate) peer: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        Self { dir, authority, client: testkit::free_port(), peer: testkit::free_port() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.client)
    }

    /// Flags for client addresses with a certificate of the place's authority.
    pub(crate) fn with_certificate(&self) -> Vec<String> {
        let pair = self.authority.sign("server", 1);
        vec![
            format!("--cert-file={}", pair.cert.display()),
            format!("--key-file={}", pair.key.display()),
        ]
    }

    /// The same, and clients must show one of that authority, too.
    pub(crate) fn with_client_certificates(&self) -> Vec<String> {
        let mut flags = self.with_certificate();
        flags.push("--client-cert-auth".to_owned());
        flags.push(format!("--trusted-ca-file={}", self.authority.file().display()));
        flags
    }

    /// Starts `program` with clients on `https`, and waits until it serves.
    pub(crate) fn start(&self, program: &Program, flags: &[String]) -> Running {
        let mut running = self.serve(program, flags);
        let start = Instant::now();
        loop {
            let log = running.log();
            if ["ready to serve", "serving client traffic"].iter().any(|text| log.contains(text)) {
                return running;
            }
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{ended:?}\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it and waits until it ends by itself: exit code and log.
    pub(crate) fn refusal(&self, flags: &[String]) -> (Option<i32>, String) {
        let mut running = self.serve(&berth(), flags);
        let start = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                return (status.code(), running.log());
            }
            assert!(start.elapsed() < PATIENCE, "{}", running.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it in the data directory `data`, with clients on `https` and members on `http`, as
    /// far as `flags` do not say otherwise: berth and etcd take the last of two.
    fn serve(&self, program: &Program, flags: &[String]) -> Running {
        let (client, peer) = (self.endpoint(), format!("http://127.0.0.1:{}", self.peer));
        let mut all = vec![
            format!("--data-dir={}", self.path("data").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        all.extend_from_slice(flags);
        self.launch(program, "log", &all)
    }

    /// Starts it with these flags alone; its log goes to the file `log`.
    pub(crate) fn launch(&self, program: &Program, log: &str, flags: &[String]) -> Running {
        let log_path = self.path(log);
        let log = File::create(&log_path).unwrap();
        let mut command = Command::new(&program.path);
        match program.kind {
            Kind::Berth => command.arg("serve"),
            Kind::Etcd => command.arg("--logger=zap"),
        };
        command
            .current_dir(self.dir.path())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Running { child: command.spawn().unwrap(), log: File::open(log_path).unwrap() }
    }

    /// Debian's etcdctl against this place, trusting its authority.
    pub(crate) fn etcdctl(&self, pair: Option<&Pair>, arguments: &[&str]) -> Told {
        let program = testkit::require("etcdctl", "etcd-client");
        self.client(Command::new(program).env("ETCDCTL_API", "3"), pair, arguments)
    }

    /// `berth ctl` in its place.
    pub(crate) fn ctl(&self, pair: Option<&Pair>, arguments: &[&str]) -> Told {
        self.client(Command::new(BERTH).arg("ctl"), pair, arguments)
    }

    fn client(&self, command: &mut Command, pair: Option<&Pair>, arguments: &[&str]) -> Told {
        command
            .args(["--endpoints", &self.endpoint(), "--command-timeout=10s", "--dial-timeout=10s"])
            .arg("--cacert")
            .arg(self.authority.file());
        if let Some(pair) = pair {
            command.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
        }
        tell(command.args(arguments))
    }
}

/// What a command said last on each stream, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    /// Etcdctl's own log lines left out.
    pub(crate) error: String,
}

impl Told {
    pub(crate) fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

pub(crate) fn tell(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let mut lines = error.lines().filter(|line| !line.starts_with('{'));
    Told {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        error: lines.next_back().unwrap_or_default().to_owned(),
    }
}

/// A running server; killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: File,
}

impl Running {
    /// All that it has logged.
    pub(crate) fn log(&mut self) -> String {
        let mut bytes = Vec::new();
        self.log.rewind().unwrap();
        self.log.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Running {
    /// Waits until it has logged all of `texts`: a client may know the outcome before the log does.
    pub(crate) fn says(&mut self, texts: &[&str]) {
        let start = Instant::now();
        loop {
            let log = self.log();
            if texts.iter().all(|text| log.contains(text)) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{texts:?} are not all in the log:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Holds it, or lets it go on: `-STOP`, `-CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
