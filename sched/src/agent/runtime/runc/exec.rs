//! Further processes in a running container: `runc exec`, with pipes or a terminal of its own.

use std::path::Path;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::files::{ContainerDir, ContainerRecord};
use crate::agent::files;
use crate::agent::runtime::process::Process;
use crate::agent::runtime::{Error, Exec, ExecSpec, Kind, Result, error_while};

/// Sizes of the window that wait to be set.
const SIZES_WAITING_MAX: usize = 4;

pub(super) fn start(
    directory: &ContainerDir,
    record: &ContainerRecord,
    spec: &ExecSpec,
) -> Result<Exec> {
    if spec.command.is_empty() {
        return Err(Error::invalid("no command to run in the container"));
    }
    let prepared = tempfile::tempdir().map_err(error_while("preparing the process"))?;
    let process = prepared.path().join("process.json");
    files::write_json(&process, &describe(directory, spec)?)
        .map_err(error_while("preparing the process"))?;
    let pid_file = prepared.path().join("pid");
    let mut args = vec!["--root".into(), record.state.clone().into_os_string(), "exec".into()];
    args.extend(["--process".into(), process.into_os_string()]);
    args.extend(["--pid-file".into(), pid_file.clone().into_os_string()]);
    if spec.tty {
        args.push("--tty".into());
    }
    args.push(record.id.clone().into());
    if spec.tty {
        with_terminal(record, &args, prepared)
    } else {
        with_pipes(record, &args, spec, prepared)
    }
}

/// The container's own process, with another command.
fn describe(directory: &ContainerDir, spec: &ExecSpec) -> Result<Value> {
    let mut config: Value = files::read_json(&directory.config())
        .ok_or_else(|| Error::new(Kind::NoSuchContainer, "the container is gone"))?;
    let mut process = config["process"].take();
    process["args"] = spec.command.clone().into();
    process["terminal"] = spec.tty.into();
    if spec.tty
        && let Some(env) = process["env"].as_array_mut()
    {
        env.push("TERM=xterm".into());
    }
    Ok(process)
}

type Args = [std::ffi::OsString];

fn with_pipes(
    record: &ContainerRecord,
    args: &Args,
    spec: &ExecSpec,
    prepared: tempfile::TempDir,
) -> Result<Exec> {
    let mut command = Command::new(&record.program);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(error_while("running the OCI runtime"))?;
    Ok(Exec {
        stdin: child.stdin.take().map(|pipe| Box::pin(pipe) as _),
        stdout: child.stdout.take().map(|pipe| Box::pin(pipe) as _),
        stderr: child.stderr.take().map(|pipe| Box::pin(pipe) as _),
        resize: None,
        exit: Box::pin(exit(child, prepared)),
    })
}

fn with_terminal(
    record: &ContainerRecord,
    args: &Args,
    prepared: tempfile::TempDir,
) -> Result<Exec> {
    fn opening<E: std::fmt::Display>(error: E) -> Error {
        error_while("opening a terminal")(error)
    }
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .and_then(|ours| grantpt(&ours).and_then(|()| unlockpt(&ours)).map(|()| ours))
        .map_err(opening)?;
    let name = ptsname(&ours, Vec::new()).map_err(opening)?;
    let name = Path::new(std::ffi::OsStr::new(name.to_str().map_err(opening)?)).to_owned();
    let open = || std::fs::File::options().read(true).write(true).open(&name).map_err(opening);
    let (stdin, stdout, stderr) = (open()?, open()?, open()?);
    // It must control the terminal, or it is never told of another size.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(&record.program).args(args);
    command.stdin(stdin).stdout(stdout).stderr(stderr).kill_on_drop(true);
    let child = command.spawn().map_err(error_while("running the OCI runtime"))?;
    drop(command);
    let ours = std::fs::File::from(ours);
    let clone = || ours.try_clone().map_err(opening);
    let (reads, writes, resizes) = (clone()?, clone()?, ours.try_clone().map_err(opening)?);
    let (resize, mut sizes) = mpsc::channel::<(u16, u16)>(SIZES_WAITING_MAX);
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // A terminal that has been closed has no size.
            let _ = tcsetwinsize(&resizes, size);
        }
    });
    Ok(Exec {
        stdin: Some(Box::pin(tokio::fs::File::from_std(writes))
            as std::pin::Pin<Box<dyn AsyncWrite + Send>>),
        stdout: Some(
            Box::pin(tokio::fs::File::from_std(reads)) as std::pin::Pin<Box<dyn AsyncRead + Send>>
        ),
        stderr: None,
        resize: Some(resize),
        exit: Box::pin(exit(child, prepared)),
    })
}

async fn exit(child: Child, prepared: tempfile::TempDir) -> Result<i32> {
    use std::os::unix::process::ExitStatusExt;
    let mut killed = Killed { child, prepared: Some(prepared) };
    let status = killed.child.wait().await.map_err(error_while("waiting for the process"))?;
    killed.prepared = None;
    Ok(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(128))
}

/// Ends the process in the container when nobody waits for it any more: ending `runc` alone would
/// leave it behind.
struct Killed {
    child: Child,
    /// `None`: it has ended by itself.
    prepared: Option<tempfile::TempDir>,
}

impl Drop for Killed {
    fn drop(&mut self) {
        let Some(prepared) = &self.prepared else { return };
        let pid = std::fs::read_to_string(prepared.path().join("pid")).ok();
        if let Some(process) = pid.and_then(|pid| pid.trim().parse().ok()).and_then(Process::of) {
            process.signal(rustix::process::Signal::KILL);
        }
        // The child itself is killed with its handle.
        let _ = self.child.start_kill();
    }
}
