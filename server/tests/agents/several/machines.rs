//! The machines.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use k8s_openapi::api::core::v1::Pod;
use sched::objects::{Objects, Stored};
use tempfile::TempDir;
use testkit::{Kubectl, Namespace, Net, Script, eventually, image_archive, require, skipped};
use tokio::process::{Child, Command};

use crate::remains;
use crate::scene::store;

/// What the seeds' files run, and its next version: it tells its name to whoever asks, and ends when
/// it is told to.
pub(super) const IMAGES: [&str; 2] =
    ["centos-master:5000/eureka:latest", "centos-master:5000/eureka:2"];
const SCRIPT: &str = "trap 'exit 0' TERM; mkdir -p /www; hostname > /www/index.html; \
                      httpd -p 8761 -h /www; while true; do sleep 3600 & wait; done";
/// How long anything here may take on a busy machine.
pub(super) const SOON_S: u64 = 60;
/// The node whose network is cut has more time to end in: its store asks the same of a busy machine.
pub(super) const LEASES: [&str; 3] = ["9s", "9s", "12s"];
const API: &str = "http://127.0.0.1:8080";

pub(super) struct Machines {
    pub(super) kubectl: Kubectl,
    pub(super) objects: Objects,
    pub(super) nodes: Vec<Machine>,
    // Processes go before their network and their directories.
    server: Option<Child>,
    pub(super) net: Net,
    directory: TempDir,
}

/// One with an agent.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) address: String,
    /// Its place in the network.
    pub(super) at: usize,
    pub(super) root: PathBuf,
    agent: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.agent.take());
        remains::end_all(&self.root);
    }
}

impl Machines {
    /// All nodes ready, with the images; `None`: not on this machine, and says so.
    pub(super) async fn start(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "containers need root");
            return None;
        }
        require("runc", "runc");
        let net = Net::new(1 + LEASES.len()).map_err(|why| skipped(test, &why)).ok()?;
        let directory = TempDir::new().unwrap();
        let kubectl = Kubectl::within(net.member(0).0, API);
        let objects = Objects::new(store(format!("http://{}", net.places()[0].client)));
        let node = |at: usize| Machine {
            name: format!("n{at}"),
            address: net.member(at).1,
            at,
            root: directory.path().join(format!("n{at}")),
            agent: None,
        };
        let nodes = (1..=LEASES.len()).map(node).collect();
        let mut machines = Self { kubectl, objects, nodes, server: None, net, directory };
        machines.start_server();
        machines.import().await;
        machines.kubectl.shows(&["get", "namespace"], "default").await;
        for number in 0..LEASES.len() {
            machines.start_agent(number);
        }
        machines.are_ready().await;
        Some(machines)
    }

    async fn import(&self) {
        let archive = image_archive(self.directory.path(), &IMAGES, SCRIPT).display().to_string();
        for node in &self.nodes {
            let root = node.root.display().to_string();
            let args = ["image", "import", "--root", &root, &archive];
            let imported = Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), &args).run().await;
            assert_eq!(imported.code, Some(0), "{imported:?}");
        }
    }

    /// On the data that it has.
    pub(super) fn start_server(&mut self) {
        let (home, address) = self.net.member(0);
        let data = format!("--data-dir={}", self.directory.path().join("data").display());
        let advertised = format!("--advertise-client-urls=http://{address}:2379");
        let listens = "--listen-client-urls=http://0.0.0.0:2379";
        let arguments = ["serve", "--orchestrator=control", listens, &advertised, &data];
        self.server = Some(spawn(home, self.directory.path(), "server", &arguments));
    }

    /// Store, API and controllers, at once.
    pub(super) async fn kill_server(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }

    /// Another kubectl, for somebody who works beside.
    pub(super) fn another_kubectl(&self) -> Kubectl {
        Kubectl::within(self.net.member(0).0, API)
    }

    pub(super) fn start_agent(&mut self, number: usize) {
        let node = &self.nodes[number];
        let store = format!("http://{}:2379", self.net.member(0).1);
        let root = node.root.display().to_string();
        let arguments = ["agent", "--join", &store, "--node", &node.name, "--runtime", "runc"];
        let more = ["--root", &root, "--lease-ttl", LEASES[number]];
        let arguments = [&arguments[..], &more].concat();
        let home = self.net.member(node.at).0;
        let agent = spawn(home, self.directory.path(), &node.name, &arguments);
        self.nodes[number].agent = Some(agent);
    }

    /// As a crash would; what it runs goes on.
    pub(super) async fn kill_agent(&mut self, number: usize) {
        self.nodes[number].agent.take().unwrap().kill().await.unwrap();
    }

    pub(super) async fn are_ready(&self) {
        eventually("all nodes are ready", SOON_S, async || {
            let nodes = self.kubectl.run(&["get", "nodes"]).await.stdout;
            match nodes.matches(" Ready ").count() == self.nodes.len() {
                true => Ok(()),
                false => Err(format!("{nodes}\n{}", self.logs())),
            }
        })
        .await;
    }

    /// What the seeds' deployment has, in any state.
    pub(super) async fn pods(&self) -> Vec<Stored<Pod>> {
        self.pods_of("eurekaserver").await
    }

    /// The pods with this label `app`, in any state.
    pub(super) async fn pods_of(&self, app: &str) -> Vec<Stored<Pod>> {
        let is_of = |pod: &Stored<Pod>| {
            let labels = pod.metadata.labels.as_ref();
            labels.and_then(|all| all.get("app")).is_some_and(|own| own == app)
        };
        let all = self.objects.list::<Pod>(Some("default")).await.unwrap().items;
        all.into_iter().filter(is_of).collect()
    }

    /// The page of this address, asked for so many times on the machine at a place: one line each.
    ///
    /// # Errors
    /// What curl complains of.
    pub(super) async fn ask(
        &self,
        at: usize,
        url: &str,
        times: u32,
    ) -> Result<Vec<String>, String> {
        let pages = format!("{url}?[1-{times}]");
        let words = self.net.member(at).0.only_network();
        let curl = require("curl", "curl").display().to_string();
        let options =
            ["--silent", "--show-error", "--fail", "--max-time", "20", "--parallel", &pages];
        let arguments: Vec<&str> =
            [&words[1], &curl].into_iter().map(String::as_str).chain(options).collect();
        let finished = Script::new(Path::new(&words[0]), &arguments).run().await;
        match finished.code {
            Some(0) => Ok(finished.stdout.lines().map(str::to_owned).collect()),
            _ => Err(format!("{url} on machine {at}: {}", finished.stderr)),
        }
    }

    /// What everything has logged, for failure messages.
    pub(super) fn logs(&self) -> String {
        let names = self.nodes.iter().map(|node| node.name.as_str());
        let read = |name: &str| {
            let log = std::fs::read_to_string(self.directory.path().join(format!("{name}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        ["server"].into_iter().chain(names).map(read).collect()
    }
}

/// The program, on a machine.
fn spawn(home: &Namespace, directory: &Path, name: &str, arguments: &[&str]) -> Child {
    let path = directory.join(format!("{name}.log"));
    let log = std::fs::File::options().create(true).append(true).open(path).unwrap();
    let [program, network] = home.only_network();
    Command::new(program)
        .arg(network)
        .arg(env!("CARGO_BIN_EXE_berth"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
