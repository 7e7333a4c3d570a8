//! A machine of its own, on which somebody has typed `berth` and nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testkit::{Finished, Kubectl, Net, Script, eventually, image_archive, require, skipped};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::remains;

/// What nginx is here: it answers on port 80, and ends when it is told to.
const SCRIPT: &str = "trap 'exit 0' TERM; mkdir -p /www; echo it works > /www/index.html; \
                      httpd -p 80 -h /www; while true; do sleep 3600 & wait; done";
/// How long anything here may take on a busy machine.
pub(crate) const SOON_S: u64 = 60;
/// The machine's `/etc/resolv.conf`: a resolver on its loopback, as many machines have one.
pub(crate) const RESOLV_CONF: &str = "nameserver 127.0.0.1\nsearch service.corp.example\n";
/// Makes what the machine has of its own: nothing runs on it yet, so nothing listens below `/run`.
const MOUNTS: &str = r#"mount --bind "$0" /etc/resolv.conf && mount -t tmpfs tmpfs /run &&
    echo mounted && exec sleep infinity"#;
/// The one that a daemon of nobody's runs as.
const NOBODY: u32 = 65_534;
const ENGINE_S_MAX: u64 = 60;

/// What is there to run containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    Runc,
    /// A Docker engine, where engines listen.
    Engine,
    /// Nothing, and whoever types has no rights.
    Nothing,
}

/// Ended with all that runs in it, whatever happens before.
pub(crate) struct Machine {
    has: Has,
    berth: Option<Child>,
    engine: Option<Child>,
    /// Holds what is mounted there alone.
    mounts: Child,
    directory: tempfile::TempDir,
    net: Net,
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.berth.take());
        remains::end_all(&self.root());
        if let Some(pid) = self.engine.as_ref().and_then(Child::id) {
            // It ends its containers before itself.
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let ended = || matches!(self.engine.as_mut().map(Child::try_wait), Some(Ok(Some(_))));
            wait_until(ended);
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..SOON_S * 10 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Machine {
    /// A fresh one with the image of the example, and `berth` running; `None`: not here, and says so.
    pub(crate) async fn start(test: &str, has: Has) -> Option<Self> {
        let mut machine = Self::bare(test, has).await?;
        machine.start_berth();
        Some(machine)
    }

    /// The same before anybody has typed anything.
    pub(crate) async fn bare(test: &str, has: Has) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "machines of their own need root");
            return None;
        }
        let net = Net::new(1).map_err(|why| skipped(test, &why)).ok()?;
        let directory = tempfile::tempdir().unwrap();
        let mounts = own_mounts(directory.path()).await;
        let mut machine = Self { has, berth: None, engine: None, mounts, directory, net };
        let archive = image_archive(machine.directory.path(), &["nginx:alpine"], SCRIPT);
        let archive = archive.display().to_string();
        match has {
            Has::Runc => {
                require("runc", "runc");
                let root = machine.path("default.berth-agent");
                let import = ["image", "import", "--root", &root, &archive];
                let imported = machine.berth(&import).await;
                assert_eq!(imported.code, Some(0), "{imported:?}");
            }
            Has::Engine => {
                machine.start_engine().await;
                let loaded = machine.docker(&["load", "--input", &archive]).await;
                assert_eq!(loaded.code, Some(0), "{loaded:?}");
            }
            Has::Nothing => {
                let program = machine.directory.path().join("berth");
                let own = Path::new(env!("CARGO_BIN_EXE_berth"));
                // Where cargo has it, not everybody may look.
                std::fs::copy(own, program).unwrap();
                std::os::unix::fs::chown(machine.directory.path(), Some(NOBODY), None).unwrap();
            }
        }
        Some(machine)
    }

    async fn start_engine(&mut self) {
        require("dockerd", "docker.io");
        let log = std::fs::File::create(self.directory.path().join("engine.log")).unwrap();
        let paths = ["data-root", "exec-root", "pidfile"];
        let flags = paths.map(|flag| format!("--{flag}={}", self.path(flag)));
        let mut command = self.command("dockerd");
        command.args(flags).stdout(log.try_clone().unwrap()).stderr(log);
        self.engine = Some(command.spawn().unwrap());
        eventually("the engine answers", ENGINE_S_MAX, async || {
            let said = self.docker(&["version"]).await;
            let log = || self.read("engine.log");
            if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}\n{}", log())) }
        })
        .await;
    }

    /// Types `berth`.
    pub(crate) fn start_berth(&mut self) {
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        match self.has {
            Has::Nothing => self.start_berth_by(&["setpriv", &ids[0], &ids[1], "--clear-groups"]),
            Has::Runc | Has::Engine => self.start_berth_by(&[]),
        }
    }

    /// The same with these words before it.
    pub(crate) fn start_berth_by(&mut self, words: &[&str]) {
        let log = self.path("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let own = self.path("berth");
        let berth = if self.has == Has::Nothing { &own } else { env!("CARGO_BIN_EXE_berth") };
        let words = [words, &[berth]].concat();
        let mut command = self.command(words[0]);
        command.args(&words[1..]).stdout(log.try_clone().unwrap()).stderr(log);
        self.berth = Some(command.spawn().unwrap());
    }

    /// As a crash would: what it runs goes on.
    pub(crate) async fn kill_berth(&mut self) {
        self.berth.take().unwrap().kill().await.unwrap();
    }

    /// A program with what is mounted there alone, in a directory of its own.
    fn command(&self, program: &str) -> Command {
        let [enter, network] = self.net.member(0).0.only_network();
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.mounts.id().unwrap());
        let mut command = Command::new(enter);
        command
            .args([&*network, &mounts, "--", "sh", "-c", r#"cd "$0" && exec "$@""#])
            .arg(self.directory.path())
            .arg(program)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The engine's own client.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command("docker");
        // Whatever else this machine is set up for.
        command.args(arguments).env_remove("DOCKER_HOST").env("DOCKER_CONFIG", self.path("none"));
        let output = tokio::time::timeout(Duration::from_secs(SOON_S), command.output());
        let output = output.await.expect("docker ends").unwrap();
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// kubectl there, once there is somebody to talk to.
    pub(crate) async fn kubectl(&self) -> Kubectl {
        let kubectl = Kubectl::within(self.net.member(0).0, "http://127.0.0.1:8080");
        kubectl.shows(&["get", "namespace"], "default").await;
        kubectl
    }

    /// The address that others would reach it at.
    pub(crate) fn address(&self) -> String {
        self.net.member(0).1
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// What those say that run beside it.
    pub(crate) fn log_beside(&self) -> String {
        self.read("beside")
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Where the agent keeps what it must find again.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("default.berth-agent")
    }

    pub(crate) async fn page(&self, url: &str) -> Finished {
        self.run("curl", "curl", &["--silent", "--fail", url]).await
    }

    /// A program of this machine, run there.
    pub(crate) async fn run(&self, program: &str, package: &str, arguments: &[&str]) -> Finished {
        self.run_path(&require(program, package), arguments).await
    }

    /// berth itself, run there.
    pub(crate) async fn berth(&self, arguments: &[&str]) -> Finished {
        self.run_path(Path::new(env!("CARGO_BIN_EXE_berth")), arguments).await
    }

    async fn run_path(&self, program: &Path, arguments: &[&str]) -> Finished {
        let [enter, network] = self.net.member(0).0.only_network();
        let program = program.display().to_string();
        let all = [&[network.as_str(), &program], arguments].concat();
        Script::new(Path::new(&enter), &all).run().await
    }

    /// berth beside it, until the child is dropped.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.path("beside"));
        let mut command = self.command(env!("CARGO_BIN_EXE_berth"));
        command.args(arguments).stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap()
    }
}

/// A process whose mounts are its own, once they are there.
async fn own_mounts(directory: &Path) -> Child {
    let resolv_conf = directory.join("resolv.conf");
    std::fs::write(&resolv_conf, RESOLV_CONF).unwrap();
    let mut holder = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", MOUNTS])
        .arg(resolv_conf)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "mounted\n", "what it complains of is above");
    holder
}

/// What lets a container run this machine's own programs: volumes and mounts, as a pod has them.
pub(crate) fn programs() -> (serde_json::Value, serde_json::Value) {
    let directories = ["usr", "lib", "lib64"].map(|name| (name, PathBuf::from("/").join(name)));
    let there = directories.iter().filter(|(_, path)| path.exists());
    let (volumes, mounts): (Vec<_>, Vec<_>) = there
        .map(|(name, path)| {
            (
                serde_json::json!({"name": name, "hostPath": {"path": path}}),
                serde_json::json!({"name": name, "mountPath": path, "readOnly": true}),
            )
        })
        .unzip();
    (volumes.into(), mounts.into())
}
