//! Containers that are only pretended: for tests of scale, and for machines that have no runtime.
//!
//! A pretended container does what a few plain commands say (`sh -c "echo hello; sleep 1; exit 3"`,
//! `sleep 60`, `true`, `false`); every other one runs until it is stopped. Images of the registry
//! `registry.invalid` are missing, all others are there. Whatever is started takes as long as
//! [`Latency`] says.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{broadcast, watch};

use super::{
    CHANGES_WAITING_MAX, Cidr, Container, ContainerSpec, Error, Exec, ExecSpec, Exit, Image, Kind,
    LogLine, LogQuery, LogStream, PodRef, Result, Runtime, Sandbox, SandboxSpec, State,
};
use crate::agent::clock;
use crate::agent::images::Reference;

/// No registry has this name, by RFC 2606.
const MISSING: &str = "registry.invalid";
const FIRST_OFFSET: u32 = 2;
/// What is said while a container runs, at most.
const LOG_LINES_MAX: usize = 10_000;
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;
const NO_COMMAND: i32 = 127;

/// How long things take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub pull: Duration,
    pub sandbox: Duration,
    pub start: Duration,
    pub stop: Duration,
}

/// The runtime. Clones share their containers, as if an agent had been started again.
#[derive(Clone)]
pub struct Fake {
    latency: Latency,
    shared: Arc<Shared>,
}

struct Shared {
    node: Mutex<Node>,
    changes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Node {
    cidr: Option<Cidr>,
    pods: HashMap<String, Pod>,
    pulled: std::collections::HashSet<String>,
    next_offset: u32,
}

struct Pod {
    sandbox: Sandbox,
    running: BTreeMap<String, Pretended>,
}

struct Pretended {
    log: watch::Sender<Log>,
    /// Says with which code it is to end.
    stop: watch::Sender<Option<i32>>,
    ended: watch::Receiver<bool>,
}

#[derive(Clone, Debug, Default)]
struct Log {
    lines: Vec<LogLine>,
    has_ended: bool,
}

impl Fake {
    pub fn new(latency: Latency) -> Self {
        let changes = broadcast::channel(CHANGES_WAITING_MAX).0;
        Self { latency, shared: Arc::new(Shared { node: Mutex::default(), changes }) }
    }
}

impl Shared {
    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, uid: &str) {
        // Nobody may listen.
        let _ = self.changes.send(uid.to_owned());
    }

    fn set_state(&self, uid: &str, id: &str, state: State) {
        if let Some(pod) = self.node().pods.get_mut(uid)
            && let Some(container) = pod.sandbox.containers.iter_mut().find(|one| one.id == id)
        {
            container.state = state;
        }
        self.changed(uid);
    }
}

fn uid_of(id: &str) -> &str {
    id.split('_').next().unwrap_or_default()
}

fn check(reference: &str) -> Result<Reference> {
    let name = Reference::from_str(reference).map_err(Error::invalid)?;
    if name.registry == MISSING {
        return Err(Error::no_image(format!("{name}: there is no such registry")));
    }
    Ok(name)
}

#[async_trait]
impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn has_network(&self) -> bool {
        false
    }

    fn has_files(&self) -> bool {
        false
    }

    async fn version(&self) -> Result<String> {
        Ok("0".into())
    }

    async fn set_pod_cidr(&self, own: &Cidr, _: &Cidr) -> Result<()> {
        self.shared.node().cidr = Some(*own);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<PodRef>> {
        Ok(self.shared.node().pods.values().map(|pod| pod.sandbox.pod.clone()).collect())
    }

    async fn observe(&self, uid: &str) -> Result<Option<Sandbox>> {
        Ok(self.shared.node().pods.get(uid).map(|pod| pod.sandbox.clone()))
    }

    fn changes(&self) -> broadcast::Receiver<String> {
        self.shared.changes.subscribe()
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        match check(reference) {
            Ok(name) => {
                let id = name.to_string();
                let is_here =
                    self.latency.pull.is_zero() || self.shared.node().pulled.contains(&id);
                Ok(is_here.then_some(Image { id }))
            }
            Err(error) if error.kind == Kind::NoSuchImage => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, reference: &str) -> Result<Image> {
        let id = check(reference)?.to_string();
        tokio::time::sleep(self.latency.pull).await;
        self.shared.node().pulled.insert(id.clone());
        Ok(Image { id })
    }

    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<()> {
        tokio::time::sleep(self.latency.sandbox).await;
        let mut node = self.shared.node();
        let uid = spec.pod.uid.clone();
        if node.pods.get(&uid).is_some_and(|pod| pod.sandbox.is_ready) {
            return Ok(());
        }
        let address = match (spec.host_network, node.cidr) {
            (true, _) => None,
            (false, None) => return Err(Error::failed("the node has no pod network yet")),
            (false, Some(cidr)) => Some(next_address(&mut node, cidr).into()),
        };
        let kept = node.pods.remove(&uid).map(|pod| pod.sandbox.containers).unwrap_or_default();
        let sandbox = Sandbox {
            pod: spec.pod.clone(),
            is_ready: true,
            address,
            created_at: clock::now(),
            containers: kept,
        };
        node.pods.insert(uid.clone(), Pod { sandbox, running: BTreeMap::new() });
        drop(node);
        self.shared.changed(&uid);
        Ok(())
    }

    async fn stop_sandbox(&self, uid: &str) -> Result<()> {
        if let Some(pod) = self.shared.node().pods.get_mut(uid) {
            pod.sandbox.is_ready = false;
        }
        self.shared.changed(uid);
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<()> {
        let containers = self.observe(uid).await?.map(|sandbox| sandbox.containers);
        for container in containers.unwrap_or_default() {
            self.stop_container(&container.id, Duration::ZERO).await?;
        }
        self.shared.node().pods.remove(uid);
        self.shared.changed(uid);
        Ok(())
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<String> {
        tokio::time::sleep(self.latency.start).await;
        let image_id = check(&spec.image)?.to_string();
        let id = spec.key();
        let started_at = clock::now();
        let container = Container {
            id: id.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            streak: spec.streak,
            image: spec.image.clone(),
            image_id,
            state: State::Running { started_at },
        };
        let (log, _) = watch::channel(Log::default());
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = watch::channel(false);
        {
            let mut node = self.shared.node();
            let pod = node.pods.get_mut(&spec.pod.uid).filter(|pod| pod.sandbox.is_ready);
            let pod = pod.ok_or_else(|| Error::failed("the pod's sandbox has ended"))?;
            pod.sandbox.containers.push(container);
            pod.running.insert(id.clone(), Pretended { log: log.clone(), stop, ended });
        }
        let act = Act { steps: steps(&spec.command, &spec.args), log, stopped };
        let (shared, uid, own) = (self.shared.clone(), spec.pod.uid.clone(), id.clone());
        tokio::spawn(async move {
            let code = act.play().await;
            let finished_at = clock::now();
            let state = State::Exited { code, started_at, finished_at, reason: Exit::Ended };
            shared.set_state(&uid, &own, state);
            end.send_replace(true);
        });
        self.shared.changed(&spec.pod.uid);
        Ok(id)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        tokio::time::sleep(self.latency.stop.min(grace)).await;
        let ended = {
            let node = self.shared.node();
            let running = node.pods.get(uid_of(id)).and_then(|pod| pod.running.get(id));
            let Some(running) = running else { return Ok(()) };
            let code = if grace.is_zero() { KILLED } else { TERMINATED };
            running.stop.send_replace(Some(code));
            running.ended.clone()
        };
        let mut ended = ended;
        // The sender goes after it has told.
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let mut node = self.shared.node();
        let Some(pod) = node.pods.get_mut(uid_of(id)) else { return Ok(()) };
        let is_running = |one: &Container| matches!(one.state, State::Running { .. });
        if pod.sandbox.containers.iter().any(|one| one.id == id && is_running(one)) {
            return Err(Error::failed(format!("container {id} still runs")));
        }
        pod.sandbox.containers.retain(|one| one.id != id);
        pod.running.remove(id);
        Ok(())
    }

    async fn exec(&self, id: &str, spec: ExecSpec) -> Result<Exec> {
        let is_running = self.shared.node().pods.get(uid_of(id)).is_some_and(|pod| {
            let running = |one: &Container| matches!(one.state, State::Running { .. });
            pod.sandbox.containers.iter().any(|one| one.id == id && running(one))
        });
        if !is_running {
            return Err(Error::no_container(id));
        }
        let (log, said) = watch::channel(Log::default());
        let (keep, stopped) = watch::channel(None);
        let steps = match steps(&spec.command, &[]) {
            steps if steps.contains(&Step::Forever) => {
                vec![Step::Say("not pretended\n".into()), Step::Exit(NO_COMMAND)]
            }
            steps => steps,
        };
        let code = Act { steps, log, stopped }.play().await;
        drop(keep);
        let text: Vec<u8> =
            said.borrow().lines.iter().flat_map(|line| line.text.to_vec()).collect();
        Ok(Exec {
            stdin: spec.stdin.then(|| Box::pin(tokio::io::sink()) as _),
            stdout: Some(Box::pin(std::io::Cursor::new(text))),
            stderr: None,
            resize: None,
            exit: Box::pin(async move { Ok(code) }),
        })
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<LogStream> {
        let node = self.shared.node();
        let running = node.pods.get(uid_of(id)).and_then(|pod| pod.running.get(id));
        let receiver = running.map(|running| running.log.subscribe());
        let receiver = receiver.ok_or_else(|| Error::no_container(id))?;
        Ok(follow(receiver, query))
    }
}

fn follow(receiver: watch::Receiver<Log>, query: LogQuery) -> LogStream {
    let is_wanted = move |line: &LogLine| query.since.is_none_or(|since| line.time >= since);
    let have = receiver.borrow().lines.len();
    let first = query.tail.map_or(0, |tail| have.saturating_sub(tail));
    let state = (receiver, first);
    let lines = futures::stream::unfold(state, move |(mut receiver, next)| async move {
        loop {
            let (line, has_ended) = {
                let log = receiver.borrow_and_update();
                (log.lines.get(next).cloned(), log.has_ended)
            };
            if let Some(line) = line {
                return Some((line, (receiver, next + 1)));
            }
            if has_ended || !query.follow || receiver.changed().await.is_err() {
                return None;
            }
        }
    });
    lines.filter(move |line| std::future::ready(is_wanted(line))).map(Ok).boxed()
}

fn next_address(node: &mut Node, cidr: Cidr) -> Ipv4Addr {
    let size = cidr.size() - FIRST_OFFSET - 1;
    let address = cidr.address(FIRST_OFFSET + node.next_offset % size);
    node.next_offset = node.next_offset.wrapping_add(1);
    address
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Say(String),
    Sleep(Duration),
    Exit(i32),
    Forever,
}

/// What a command is pretended to do.
fn steps(command: &[String], args: &[String]) -> Vec<Step> {
    let words: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
    let words = match words.as_slice() {
        // The image is a box of tools.
        [first, rest @ ..] if first.ends_with("busybox") => rest,
        words => words,
    };
    match words {
        [shell, "-c", script] if shell.ends_with("sh") => script
            .split(';')
            .flat_map(|line| step(&line.split_whitespace().collect::<Vec<_>>()))
            .collect(),
        words => step(words).into_iter().collect(),
    }
}

fn step(words: &[&str]) -> Option<Step> {
    Some(match words {
        [] => return None,
        ["echo", words @ ..] => Step::Say(format!("{}\n", words.join(" "))),
        ["sleep", seconds] => seconds
            .parse()
            .ok()
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
            .map_or(Step::Forever, Step::Sleep),
        ["exit", code] => Step::Exit(code.parse().unwrap_or(2)),
        ["true"] => Step::Exit(0),
        ["false"] => Step::Exit(1),
        _ => Step::Forever,
    })
}

struct Act {
    steps: Vec<Step>,
    log: watch::Sender<Log>,
    stopped: watch::Receiver<Option<i32>>,
}

impl Act {
    async fn play(mut self) -> i32 {
        let mut code = 0;
        let steps = match self.steps.is_empty() {
            true => vec![Step::Forever],
            false => std::mem::take(&mut self.steps),
        };
        for step in steps {
            let pause = match step {
                Step::Say(text) => {
                    self.say(text);
                    continue;
                }
                Step::Exit(with) => {
                    code = with;
                    break;
                }
                Step::Sleep(time) => Some(time),
                Step::Forever => None,
            };
            let pausing = async {
                match pause {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pausing => {}
                stop = self.stopped.wait_for(Option::is_some) => {
                    code = stop.ok().and_then(|code| *code).unwrap_or(KILLED);
                    break;
                }
            }
        }
        self.log.send_modify(|log| log.has_ended = true);
        code
    }

    fn say(&self, text: String) {
        let line = LogLine { time: clock::now(), is_stderr: false, text: text.into() };
        self.log.send_modify(|log| {
            if log.lines.len() < LOG_LINES_MAX {
                log.lines.push(line);
            }
        });
    }
}
