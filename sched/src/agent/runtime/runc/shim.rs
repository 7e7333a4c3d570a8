//! The process beside each container: it holds what the container says, learns how it ends, and
//! goes with it. The agent may come and go meanwhile.
//!
//! It is the program itself under a hidden command, in a mount namespace of its own: the root file
//! system that it mounts goes with it, however it ends. No async runtime: it must stay small.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, setsid, wait, waitpid};
use serde_json::Value;

use super::bundle;
use super::files::{ContainerDir, ContainerRecord, Ended, Started};
use super::guard::Guarded;
use super::memory::Memory;
use super::{NOT_STARTED, signal};
use crate::agent::runtime::logs::{LINE_BYTES_MAX, LogWriter};
use crate::agent::runtime::process::Process;
use crate::agent::runtime::{Exit, helper};
use crate::agent::{clock, files};

/// How long output may stay open after the container has ended.
const OUTPUT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Of a process that was killed by a signal, as shells count.
const SIGNAL_BASE: i32 = 128;

/// Runs the container of `directory` to its end. Its standard output gets one line: `runs`, or why
/// it does not.
///
/// # Errors
/// It does not start.
pub fn run(directory: PathBuf) -> Result<(), String> {
    // It may be a leader already.
    let _ = setsid();
    set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("cannot adopt the container's process: {error}"))?;
    let directory = ContainerDir(directory);
    let begun = begin(&directory);
    if let Err(reason) = &begun {
        let reason = Exit::NotStarted(reason.clone());
        let ended = Ended { at: clock::now(), code: NOT_STARTED, reason };
        // If it cannot be written, whoever started this writes it.
        let _ = files::write_json(&directory.ended(), &ended);
    }
    // Whoever started it may be gone; the container runs all the same.
    let _ = helper::say(begun.as_ref().map_or_else(String::as_str, |_| helper::RUNS));
    let begun = begun?;
    begun.guard(&directory);
    begun.finish(&directory)
}

struct Begun {
    record: ContainerRecord,
    started: Started,
    memory: Memory,
    outputs_closed: mpsc::Receiver<()>,
}

fn begin(directory: &ContainerDir) -> Result<Begun, String> {
    let record: ContainerRecord = files::read_json(&directory.record())
        .ok_or_else(|| format!("{} cannot be read", directory.record().display()))?;
    let shim = Process::of(rustix::process::getpid().as_raw_nonzero().get()).ok_or("no /proc")?;
    files::write_json(&directory.shim_pid(), &shim).map_err(|error| error.to_string())?;
    mount_root(directory, &record)?;
    let (outputs_closed, pid) = start(directory, &record)?;
    let at = clock::now();
    let init = Process::of(pid).ok_or("the container ended at once")?;
    let memory = Memory::of(&bundle::control_group(&record.spec));
    let started = Started { at, init, shim };
    files::write_json(&directory.started(), &started).map_err(|error| error.to_string())?;
    Ok(Begun { record, started, memory, outputs_closed })
}

fn mount_root(directory: &ContainerDir, record: &ContainerRecord) -> Result<(), String> {
    let path = |part: &str| directory.path().join(part);
    for part in ["rootfs", "upper", "work"] {
        std::fs::create_dir_all(path(part)).map_err(|error| format!("{part}: {error}"))?;
    }
    // All names must fit into a page, so they are relative.
    std::env::set_current_dir(&record.layers).map_err(|error| format!("layers: {error}"))?;
    let lower: Vec<&str> = record.lower.iter().rev().map(String::as_str).collect();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        path("upper").display(),
        path("work").display()
    );
    let data = std::ffi::CString::new(data).map_err(|error| error.to_string())?;
    mount("overlay", path("rootfs"), "overlay", MountFlags::empty(), Some(data.as_c_str()))
        .map_err(|error| format!("cannot mount the root file system: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| error.to_string())
}

/// Has the OCI runtime start it, and returns its process, and news of when its outputs are closed.
fn start(
    directory: &ContainerDir,
    record: &ContainerRecord,
) -> Result<(mpsc::Receiver<()>, i32), String> {
    let fail = |error: std::io::Error| format!("cannot start the container: {error}");
    let spec = &record.spec;
    let log = LogWriter::open(&directory.log(), spec.log_bytes_max, spec.log_files_max);
    let log = Arc::new(Mutex::new(log.map_err(fail)?));
    let (stdout, stdout_writer) = std::io::pipe().map_err(fail)?;
    let (stderr, stderr_writer) = std::io::pipe().map_err(fail)?;
    let pid_file = directory.path().join("pid");
    let problems = directory.path().join("runtime.log");
    let status = Command::new(&record.program)
        .args(["--root".as_ref(), record.state.as_os_str()])
        .args(["--log-format", "json", "--log"])
        .arg(&problems)
        .args(["run", "--detach", "--bundle"])
        .arg(directory.path())
        .arg("--pid-file")
        .arg(&pid_file)
        .arg(&record.id)
        .stdin(Stdio::null())
        .stdout(stdout_writer)
        .stderr(stderr_writer)
        .spawn()
        .and_then(|mut child| child.wait())
        .map_err(|error| format!("{} does not start: {error}", record.program.display()))?;
    if !status.success() {
        delete(record);
        return Err(reason(&problems).unwrap_or_else(|| format!("the OCI runtime: {status}")));
    }
    let pid = std::fs::read_to_string(&pid_file).map_err(fail)?;
    let pid = pid.trim().parse().map_err(|_| "the OCI runtime wrote no pid".to_owned())?;
    let (closed, outputs_closed) = mpsc::channel();
    for (stream, output) in [("stdout", stdout), ("stderr", stderr)] {
        let (log, closed) = (log.clone(), closed.clone());
        std::thread::spawn(move || {
            copy(stream, output, &log);
            // Nobody waits any more.
            let _ = closed.send(());
        });
    }
    Ok((outputs_closed, pid))
}

/// The last thing that the OCI runtime complained of.
fn reason(problems: &Path) -> Option<String> {
    let text = std::fs::read_to_string(problems).ok()?;
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = lines.rfind(|line| line["level"] == "error")?;
    Some(last["msg"].as_str()?.to_owned())
}

fn copy(stream: &str, output: PipeReader, log: &Mutex<LogWriter>) {
    let mut output = BufReader::with_capacity(LINE_BYTES_MAX, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let part = output.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if !part.is_ok_and(|count| count > 0) {
            return;
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the container; what it says meanwhile is lost.
        let _ = log.write(clock::now(), stream, &line);
    }
}

impl Begun {
    /// Ends it when the node's lease does, unless nobody would start it elsewhere.
    fn guard(&self, directory: &ContainerDir) {
        let guarded = Guarded {
            init: self.started.init.clone(),
            signal: signal(self.record.stop_signal.as_deref()),
            fence: self.record.fence.clone(),
            mark: directory.fenced(),
        };
        std::thread::spawn(move || guarded.watch());
    }

    fn finish(self, directory: &ContainerDir) -> Result<(), String> {
        let code = wait_for(self.started.init.pid);
        let at = clock::now();
        for _ in 0..2 {
            let _ = self.outputs_closed.recv_timeout(OUTPUT_WAIT_MAX);
        }
        let is_out_of_memory = self.memory.has_run_out();
        delete(&self.record);
        let reason = if is_out_of_memory { Exit::OutOfMemory } else { Exit::Ended };
        files::write_json(&directory.ended(), &Ended { at, code, reason })
            .map_err(|error| error.to_string())
    }
}

/// The exit code of the container's first process. Whatever else is left to us is waited for too.
fn wait_for(pid: i32) -> i32 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended.as_raw_nonzero().get() == pid => {
                let signal = status.terminating_signal().map(|signal| SIGNAL_BASE + signal);
                return status.exit_status().or(signal).unwrap_or(SIGNAL_BASE);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // It is no child of ours: somebody else was its parent's reaper.
            Err(_) => return SIGNAL_BASE,
        }
    }
}

fn delete(record: &ContainerRecord) {
    // What cannot be deleted now is when the pod is removed.
    let _ = Command::new(&record.program)
        .args(["--root".as_ref(), record.state.as_os_str()])
        .args(["delete", "--force", &record.id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Holds a pod's namespaces until it is killed. Its standard output gets one line when they are
/// there. One with a host name, which an agent starts, is then told by its standard input that it is
/// kept, or ends with that; one without is a Docker engine's, which knows of it.
///
/// # Errors
/// The host name is refused, or whoever started this has ended before anybody else knew of it.
pub fn pause(hostname: Option<&str>) -> Result<(), String> {
    let _ = setsid();
    if let Some(hostname) = hostname {
        rustix::system::sethostname(hostname.as_bytes())
            .map_err(|error| format!("cannot be called {hostname:?}: {error}"))?;
    }
    helper::say(helper::RUNS).map_err(|error| error.to_string())?;
    if hostname.is_some() {
        std::io::stdin().read_exact(&mut [0]).map_err(|_| "nobody keeps it".to_owned())?;
    }
    loop {
        // With a process namespace of its own it would be everybody's parent.
        let _ = waitpid(None::<Pid>, WaitOptions::NOHANG);
        std::thread::park_timeout(Duration::from_secs(3600));
    }
}
