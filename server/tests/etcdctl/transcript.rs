//! Running a script and comparing what two runs of it printed.

use testkit::{Finished, Server};

use crate::cases::Case;
use crate::client::Client;
use crate::normal::Names;

/// One command with what it left, in normal form.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What a script printed, command by command.
pub(crate) type Transcript = Vec<Entry>;

/// Runs `cases` in order against `server`.
pub(crate) async fn record(client: &Client, server: &Server, cases: &[Case]) -> Transcript {
    let mut names = Names::of(server).await;
    let mut transcript = Transcript::new();
    for case in cases {
        for form in case.forms() {
            transcript.push(perform(client, server, case, form, &mut names).await);
        }
    }
    transcript
}

async fn perform(
    client: &Client,
    server: &Server,
    case: &Case,
    form: Option<&str>,
    names: &mut Names,
) -> Entry {
    let mut arguments = case.arguments();
    if let Some(form) = form {
        arguments.push(format!("--write-out={form}"));
    }
    let local: Vec<String> = arguments.iter().map(|argument| names.real(argument)).collect();
    let mut script = client.command(&server.endpoint(), &local).stdin(names.real(case.stdin));
    if let Some(text) = case.until {
        script = script.until(text);
    }
    let mut finished = script.run().await;
    if case.until.is_some() {
        // How it was killed says nothing.
        finished.code = None;
    }
    names.learn_lease(&arguments, &finished.stdout);
    entry(arguments.join(" "), case, &finished, names)
}

fn entry(command: String, case: &Case, finished: &Finished, names: &Names) -> Entry {
    let stdout = names.normal(&finished.stdout, case.form);
    let stderr = names.normal(&without_log(&finished.stderr), case.form);
    if case.usage {
        let said = if stderr.is_empty() { "nothing" } else { "an explanation" };
        let code = finished.code.map(|code| code.min(1));
        return Entry { command, code, stdout: String::new(), stderr: said.to_owned() };
    }
    Entry { command, code: finished.code, stdout, stderr }
}

/// etcdctl's client library logs retries as JSON lines; they are not part of its interface.
fn without_log(stderr: &str) -> String {
    let lines = stderr.lines().filter(|line| !line.starts_with("{\"level\""));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Every command that printed something else, in words.
pub(crate) fn differences(
    script: &str,
    (expected_name, expected): (&str, &Transcript),
    (actual_name, actual): (&str, &Transcript),
) -> Vec<String> {
    assert_eq!(expected.len(), actual.len(), "{script}: two runs of one script");
    expected
        .iter()
        .zip(actual)
        .filter(|(expected, actual)| expected != actual)
        .map(|(expected, actual)| {
            format!(
                "{script}: {}\n--- {expected_name}\n{}--- {actual_name}\n{}",
                expected.command,
                expected.shown(),
                actual.shown()
            )
        })
        .collect()
}

impl Entry {
    fn shown(&self) -> String {
        format!("exit {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }
}
