//! The commands of the documentation, as they stand there, by `sh` and curl.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use testkit::{Finished, Script, Server, require, subject};

use super::access::enable_auth;
use super::http::Http;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// The commands of the first block for a shell in a file: each begins at the beginning of a line.
fn commands(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(DOCS).join(file)).unwrap();
    let block = text.split("```sh\n").nth(1).expect("a block for a shell");
    let mut commands: Vec<String> = Vec::new();
    for line in block.split("```").next().expect("it ends").lines() {
        match commands.last_mut() {
            Some(command) if line.starts_with(' ') => {
                command.push('\n');
                command.push_str(line);
            }
            _ => commands.push(line.to_owned()),
        }
    }
    commands
}

/// A shell whose curl is quiet, and fails where the server refuses.
struct Shell {
    curl_home: TempDir,
    endpoint: String,
}

impl Shell {
    fn at(server: &Server) -> Self {
        require("curl", "curl");
        require("jq", "jq");
        let curl_home = tempfile::tempdir().unwrap();
        std::fs::write(curl_home.path().join(".curlrc"), "silent\nshow-error\nfail\n").unwrap();
        Self { curl_home, endpoint: server.endpoint() }
    }

    fn script(&self, commands: &str) -> Script {
        // In place of the documentation's own address.
        let all = format!("set -e\nB={}\n{commands}\n", self.endpoint);
        let script = Script::new(&require("sh", "dash"), &["-c", &all]);
        script.env("CURL_HOME", &self.curl_home.path().display().to_string())
    }

    async fn run(&self, commands: &str) -> Finished {
        let done = self.script(commands).run().await;
        assert_eq!(done.code, Some(0), "{commands}\n{done:?}");
        done
    }
}

/// Proves that each command of docs/internals/gateway.md does what is said beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_commands_work() {
    let server = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let shell = Shell::at(&server);
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/lease/grant", r#"{"ID":"7587","TTL":"600"}"#).await;
    let mut commands = commands("internals/gateway.md").into_iter();
    let mut next = |begins: &str| {
        let command = commands.next().expect("a command");
        assert!(command.starts_with(begins), "{command}");
        // The lease and the password that the reader has.
        command.replace("7587...", "7587").replace(r#""...""#, r#""p""#)
    };
    next("B=http://127.0.0.1:2379");
    for (begins, answer) in [
        ("curl $B/v3/kv/put", r#""revision":"2""#),
        ("curl $B/v3/kv/range", r#""value":"YmFy""#),
        ("curl $B/v3/kv/range", r#""count":"1""#),
        ("curl $B/v3/kv/txn", r#""revision":"2""#),
        ("curl $B/v3/lease/grant", r#""TTL":"10""#),
        ("curl $B/v3/lease/keepalive", r#""ID":"7587""#),
    ] {
        let done = shell.run(&next(begins)).await;
        assert!(done.stdout.contains(answer), "{begins}: {done:?}");
    }
    // It goes on: its first line says that it is there.
    // In place of the shell, which would leave it behind.
    let watch = format!("exec {}", next("curl -N $B/v3/watch"));
    let watched = shell.script(&watch).until(r#""created":true"#).run().await;
    assert!(watched.stdout.contains(r#""created":true"#), "{watched:?}");
    let locked = shell.run(&next("curl $B/v3/lock/lock")).await;
    assert!(locked.stdout.contains(r#""key":"bXlsb2Nr"#), "{locked:?}");

    enable_auth(&server).await;
    let (login, read) = (next("T="), next("curl -H \"Authorization: $T\""));
    let done = shell.run(&format!("{login}\n{read}")).await;
    assert!(done.stdout.contains(r#""value":"YmFy""#), "{done:?}");
    let refused = shell.script(&format!("T=nonsense\n{read}")).run().await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_eq!(commands.next(), None);
}

/// Proves that the transaction of docs/locks.md writes while the lock is held, and not after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_fences_by_a_transaction() {
    let server = Server::start(subject!(), &[]).await;
    let shell = Shell::at(&server);
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/lease/grant", r#"{"ID":"1","TTL":"600"}"#).await;
    let locked = http.call("/v3/lock/lock", r#"{"name":"bXlsb2Nr","lease":"1"}"#).await;
    assert_eq!(locked["key"], "bXlsb2NrLzE=");
    let revision = locked["header"]["revision"].as_str().unwrap();
    let commands = commands("locks.md");
    let fenced = commands.iter().find(|command| command.starts_with("curl")).unwrap();
    assert!(fenced.contains(r#""17""#), "{fenced}");
    let fenced = fenced.replace(r#""17""#, &format!("{revision:?}"));
    let held = shell.run(&fenced).await;
    assert!(held.stdout.contains(r#""succeeded":true"#), "{held:?}");
    http.call("/v3/lock/unlock", &json!({ "key": locked["key"] }).to_string()).await;
    let late = shell.run(&fenced).await;
    assert!(!late.stdout.contains("succeeded"), "{late:?}");
}
