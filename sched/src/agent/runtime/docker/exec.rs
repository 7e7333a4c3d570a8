//! Commands in a running container.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use super::{CONFLICT, NOT_FOUND, is, message};
use crate::agent::runtime::{Error, Exec, ExecSpec, Kind, Result};

/// What waits for a slow reader.
const PIPE_BYTES: usize = 64 << 10;
const SIZES_WAITING_MAX: usize = 4;
/// How long the engine may take to know that a command has ended, after its output has.
const KNOWS_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn start(engine: &bollard::Docker, id: &str, spec: ExecSpec) -> Result<Exec> {
    if spec.command.is_empty() {
        return Err(Error::invalid("no command to run in the container"));
    }
    let create = CreateExecOptions {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(spec.tty),
        cmd: Some(spec.command),
        ..CreateExecOptions::default()
    };
    let failing = |error| {
        let gone = is(&error, NOT_FOUND) || is(&error, CONFLICT);
        Error::new(if gone { Kind::NoSuchContainer } else { Kind::Failed }, message(error))
    };
    let created = engine.create_exec(id, create).await.map_err(failing)?;
    let options = StartExecOptions { tty: spec.tty, ..StartExecOptions::default() };
    let started = engine.start_exec(&created.id, Some(options)).await.map_err(failing)?;
    let StartExecResults::Attached { output, input } = started else {
        return Err(Error::failed("the engine did not attach to the command"));
    };
    let (stdout, mut to_stdout) = tokio::io::duplex(PIPE_BYTES);
    let (stderr, mut to_stderr) = tokio::io::duplex(PIPE_BYTES);
    let (ended, has_ended) = oneshot::channel();
    tokio::spawn(async move {
        let mut output = output;
        while let Some(Ok(part)) = output.next().await {
            let pipe = match &part {
                LogOutput::StdErr { .. } => &mut to_stderr,
                _ => &mut to_stdout,
            };
            // Who does not read it does not want it; the command goes on.
            let _ = pipe.write_all(&part.into_bytes()).await;
        }
        let _ = ended.send(());
    });
    let (resize, mut sizes) = mpsc::channel::<(u16, u16)>(SIZES_WAITING_MAX);
    let (resizing, exec) = (engine.clone(), created.id.clone());
    tokio::spawn(async move {
        while let Some((width, height)) = sizes.recv().await {
            // A command that has ended has no window.
            let _ = resizing.resize_exec(&exec, ResizeExecOptions { height, width }).await;
        }
    });
    let engine = engine.clone();
    Ok(Exec {
        stdin: spec.stdin.then_some(input),
        stdout: Some(Box::pin(stdout)),
        stderr: Some(Box::pin(stderr)),
        resize: spec.tty.then_some(resize),
        exit: Box::pin(async move {
            // It ends with the task.
            let _ = has_ended.await;
            exit_code(&engine, &created.id).await
        }),
    })
}

async fn exit_code(engine: &bollard::Docker, exec: &str) -> Result<i32> {
    let asking = async {
        loop {
            let found =
                engine.inspect_exec(exec).await.map_err(|error| Error::failed(message(error)))?;
            if let (Some(code), Some(false)) = (found.exit_code, found.running) {
                return Ok(i32::try_from(code).unwrap_or(i32::MAX));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let known = tokio::time::timeout(KNOWS_MAX, asking).await;
    known.unwrap_or_else(|_| Err(Error::failed("the engine does not tell how the command ended")))
}
