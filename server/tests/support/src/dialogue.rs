//! A client in another language, which says where it is and waits to be told to go on.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than everything that such a client waits for, on a busy machine.
const CLIENT_MAX: Duration = Duration::from_secs(180);

/// It says `restart`, goes on after a line, and says `watches done` at its end.
pub struct Dialogue {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Dialogue {
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the client starts");
        let said = BufReader::new(child.stdout.take().expect("it was asked for"));
        Self { child, said }
    }

    /// Reads until it is time to take a server away.
    ///
    /// # Panics
    /// It says something else, ends, or takes too long.
    pub async fn wants_a_restart(&mut self) {
        self.until("restart").await;
    }

    async fn until(&mut self, word: &str) {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(CLIENT_MAX, self.said.read_line(&mut line)).await;
            let read = read.unwrap_or_else(|_| panic!("it says no more than {all:?}"));
            if read.expect("its output is text") == 0 {
                let mut error = String::new();
                if let Some(stderr) = self.child.stderr.as_mut() {
                    let _ = stderr.read_to_string(&mut error).await;
                }
                panic!("it ended after {all:?}: {error}");
            }
            if line.trim() == word {
                return;
            }
            all.push_str(&line);
        }
    }

    /// Lets it go on, and waits for its good end.
    ///
    /// # Panics
    /// It says something else, fails, or takes too long.
    pub async fn goes_on_to_its_end(mut self) {
        let stdin = self.child.stdin.as_mut().expect("it was asked for");
        stdin.write_all(b"\n").await.expect("it reads");
        self.until("watches done").await;
        let ended = timeout(CLIENT_MAX, self.child.wait()).await.expect("it ends");
        assert!(ended.expect("it can be waited for").success());
    }
}
