//! Ends what others start elsewhere before the node's lease is over, whether an agent lives or not.
//!
//! The guard is this program under a hidden command, in a session of its own, one for each agent's
//! directory. The agent starts it with the first renewal of its lease and again should it be gone;
//! the newest takes the place of the one before. It goes on without its agent, which may be back in
//! time, and ends by itself when there can be nothing more to end.
//!
//! Below the directory:
//!
//! ```text
//! fence        until when fenced pods may run
//! fenced/UID   is there if the pod is
//! guard.json   who guards; locked as long as it does
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, PipeWriter, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use bollard::models::ContainerSummary;
use futures::future::join_all;
use rustix::process::{Signal, getpid, setsid};
use tokio::process::Command;
use tokio::runtime::{self, Runtime};
use tokio::sync::Mutex;

use super::containers::Containers;
use super::{ANSWERS_S_MAX, Settings, create, reach};
use crate::agent::files;
use crate::agent::runtime::fence::{self, Fence, GRACE, LOOK, now, sleep_until};
use crate::agent::runtime::process::Process;
use crate::agent::runtime::{Error, error_while, helper};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Between two tries to take the place of another.
const TRY: Duration = Duration::from_millis(10);
/// What an agent asked the engine for may still begin so long after it has gone.
const LINGERS: Duration = Duration::from_secs(ANSWERS_S_MAX);

/// The paths below the directory.
struct Files(PathBuf);

impl Files {
    fn fence(&self) -> PathBuf {
        self.0.join("fence")
    }

    fn marks(&self) -> PathBuf {
        self.0.join("fenced")
    }

    fn mark(&self, uid: &str) -> PathBuf {
        self.marks().join(uid)
    }

    fn guard(&self) -> PathBuf {
        self.0.join("guard.json")
    }
}

/// The agent's side.
pub(super) struct Guard {
    settings: Settings,
    files: Files,
    fence: Arc<Fence>,
    running: Mutex<Option<Running>>,
}

struct Running {
    process: Process,
    /// Closed when the agent ends, however it does.
    _agent: PipeWriter,
}

impl Guard {
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let files = Files(settings.directory.clone());
        let marks = files.marks();
        std::fs::create_dir_all(&marks).map_err(error_while(marks.display()))?;
        let fence = Arc::new(Fence::new(files.fence()));
        Ok(Self { settings, files, fence, running: Mutex::default() })
    }

    /// Fenced pods may run until then, and somebody sees to it.
    pub(super) async fn set(self: &Arc<Self>, until: Duration) -> Result<()> {
        let told = self.fence.set(until).await;
        let guard = self.clone();
        // Given up half-way, the next would start another.
        let starting = tokio::spawn(async move { guard.ensure().await });
        starting.await.map_err(error_while("the guard"))??;
        told
    }

    async fn ensure(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if running.as_ref().is_some_and(|guard| guard.process.is_alive()) {
            return Ok(());
        }
        let Settings { socket, network, program, directory } = &self.settings;
        let (reader, agent) = io::pipe().map_err(error_while("starting the guard"))?;
        let mut command = Command::new(program);
        command.args(["container", "guard"]).arg(directory).arg(socket).arg(network);
        let process = helper::started(command, reader.into(), "the guard").await?;
        *running = Some(Running { process, _agent: agent });
        Ok(())
    }

    /// Whether a pod is fenced.
    pub(super) fn mark(&self, uid: &str, is_fenced: bool) -> Result<()> {
        fence::mark(&self.files.mark(uid), is_fenced)
    }
}

/// Guards what is in a directory until nothing is left to end in the engine at `socket`, of the
/// containers of `network`. Its standard output gets one line: `runs`, or why it does not; its
/// standard input is closed when its agent ends.
///
/// # Errors
/// It cannot begin.
pub fn run(directory: PathBuf, socket: PathBuf, network: String) -> Result<(), String> {
    // It may be a leader already.
    let _ = setsid();
    let watch = Watch { files: Files(directory), socket, network };
    let begun = watch.begin();
    // Nobody listens any more: all the more reason to go on.
    let _ = helper::say(begun.as_ref().map_or_else(String::as_str, |_| helper::RUNS));
    let (runtime, _place) = begun?;
    let agent = spawn(|| {
        // Nothing is ever said there.
        let _ = io::stdin().read_to_end(&mut Vec::new());
    });
    watch.run(&runtime, &agent);
    Ok(())
}

/// The guard's side.
struct Watch {
    files: Files,
    socket: PathBuf,
    network: String,
}

impl Watch {
    fn begin(&self) -> Result<(Runtime, File), String> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let path = self.files.guard();
        let place = take_over(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((runtime, place))
    }

    fn run(&self, runtime: &Runtime, agent: &JoinHandle<()>) {
        loop {
            let until = self.until();
            if now() < until {
                sleep_until(until);
                continue;
            }
            let is_alone = agent.is_finished();
            match runtime.block_on(self.end_fenced(until)) {
                Ok(Fenced::None) if is_alone => return,
                Ok(Fenced::Ended) if is_alone && now() >= until + LINGERS => return,
                // An engine that does not answer may be back.
                Ok(_) | Err(_) => sleep(LOOK),
            }
        }
    }

    /// Ends all that must not run any more since `until`.
    async fn end_fenced(&self, until: Duration) -> Result<Fenced> {
        if !self.has_marks() {
            return Ok(Fenced::None);
        }
        let engine = reach(&self.socket).await?;
        let containers = Containers { engine, owner: self.network.clone() };
        let running = containers.running().await?;
        let fenced = running.iter().filter(|container| self.is_fenced(container));
        let ids: Vec<&str> = fenced.filter_map(|container| container.id.as_deref()).collect();
        if ids.is_empty() {
            return Ok(Fenced::Ended);
        }
        // The engine may have taken its time, and the agent be back.
        if self.until() == until {
            let ended = join_all(ids.into_iter().map(|id| containers.stop(id, GRACE))).await;
            ended.into_iter().collect::<Result<()>>()?;
        }
        Ok(Fenced::Ending)
    }

    /// 0: nobody has said.
    fn until(&self) -> Duration {
        fence::read(&self.files.fence()).unwrap_or_default()
    }

    fn has_marks(&self) -> bool {
        match std::fs::read_dir(self.files.marks()) {
            Ok(mut marks) => marks.next().is_some(),
            // Without the directory no agent has pods here.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn is_fenced(&self, container: &ContainerSummary) -> bool {
        let pod = create::pod_of(container).filter(|_| !create::is_pause(container));
        pod.is_some_and(|pod| self.files.mark(&pod.uid).exists())
    }
}

/// Which pods are fenced.
enum Fenced {
    None,
    /// Some, and what ran of them was told to end, or there was no need any more.
    Ending,
    /// Some, and nothing of them runs.
    Ended,
}

/// Takes the place of whoever guards here; it is held as long as the file is open.
fn take_over(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                // It may not have said yet who it is.
                if let Some(before) = files::read_json::<Process>(path) {
                    before.signal(Signal::KILL);
                }
                sleep(TRY);
            }
        }
    }
    let own = Process::of(getpid().as_raw_nonzero().get());
    let own = own.ok_or_else(|| io::Error::other("this process does not see itself in /proc"))?;
    let own = serde_json::to_vec(&own)?;
    // Room that is there is kept, whoever had it: the disk may be full.
    file.write_all_at(&own, 0)?;
    file.set_len(own.len() as u64)?;
    Ok(file)
}
