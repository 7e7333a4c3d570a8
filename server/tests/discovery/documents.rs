//! The commands in the documents, run as they are written.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::{Finished, Script, Server, eventually, free_port, require, subject};

use crate::dig::Dns;
use crate::tool::{SOON_S, Tool};

const ENV: &str = "/usr/bin/env";
/// What the first steps print, by their first words.
const PRINTED: [(&str, &str); 5] = [
    ("berth services", "passing"),
    ("dig", "A\t127.0.0.1"),
    ("berth template", " weight 1"),
    ("berth ctl seal-keygen", ""),
    ("berth ctl put", "swordfish"),
];

/// The block of shell in a document of the repository that has these words.
fn block(document: &str, words: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = std::fs::read_to_string(path).expect("the document is there");
    let mut blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.find(|block| block.contains(words));
    found.unwrap_or_else(|| panic!("{document} says nothing of {words}")).to_owned()
}

/// Somebody's shell: in a directory of its own, where `berth` and `etcdctl` reach the store.
struct Shell {
    directory: TempDir,
    settings: [String; 5],
}

impl Shell {
    fn at(server: &Server) -> Self {
        let berth = PathBuf::from(env!("CARGO_BIN_EXE_berth"));
        let folder = berth.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let settings = [
            format!("PATH={folder}:{path}"),
            format!("ETCDCTL_ENDPOINTS={}", server.endpoint()),
            "ETCDCTL_API=3".to_owned(),
            "ETCDCTL_DIAL_TIMEOUT=50s".to_owned(),
            "ETCDCTL_COMMAND_TIMEOUT=50s".to_owned(),
        ];
        Self { directory: TempDir::new().expect("a temporary directory"), settings }
    }

    fn words<'a>(&'a self, script: &'a str) -> Vec<&'a str> {
        let folder = self.directory.path().to_str().expect("UTF-8");
        let settings = self.settings.iter().map(String::as_str);
        ["-C", folder].into_iter().chain(settings).chain(["sh", "-ec", script]).collect()
    }

    /// Runs a script to its end.
    async fn run(&self, script: &str) -> Finished {
        Script::new(Path::new(ENV), &self.words(script)).run().await
    }

    /// Starts one that goes on.
    fn start(&self, script: &str) -> Tool {
        Tool::start(Path::new(ENV), &self.words(script))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_steps_work() {
    // Proves that each line of the README's first steps does what it says, on ports that are free.
    let python = require("python3", "python3");
    let server = Server::start(subject!(), &[]).await;
    let dns = Dns::start(&server, &[]).await;
    let (page, other) = (free_port(), free_port());
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let examples = repository.join("examples").display().to_string();
    // Each in the place of one that may be taken; marked first, since digits may be in others.
    let places = [
        ("python3", "PYTHON", python.display().to_string()),
        ("8000", "PAGE", page.to_string()),
        ("8053", "DNS", dns.port.to_string()),
        ("5353", "OTHER", other.to_string()),
        (" examples/", "EXAMPLES", format!(" {examples}/")),
    ];
    let steps = block("README.md", "berth register --service web");
    let steps = places.iter().fold(steps, |steps, (from, mark, _)| steps.replace(from, mark));
    let steps = places.iter().fold(steps, |steps, (_, mark, to)| steps.replace(mark, to));
    let shell = Shell::at(&server);
    let mut running = Vec::new();
    let mut printed = Vec::new();
    for line in steps.lines() {
        let command = line.split("  #").next().unwrap_or_default().trim();
        if let Some(command) = command.strip_suffix('&') {
            running.push(shell.start(&format!("exec {command}")));
            continue;
        }
        let (_, word) = *PRINTED
            .iter()
            .find(|(first, _)| command.starts_with(first))
            .unwrap_or_else(|| panic!("nobody knows what to expect of {command}"));
        eventually(command, SOON_S, async || match shell.run(command).await {
            done if done.code == Some(0) && done.stdout.contains(word) => Ok(()),
            done => Err(format!("{done:?}")),
        })
        .await;
        printed.push(word);
    }
    assert_eq!(printed, PRINTED.map(|(_, word)| word));
    let asked = crate::dig::Asked { port: other };
    eventually("DNS anywhere else", SOON_S, async || {
        match asked.answers(&["web.service.cluster.local"]).await {
            answers if answers == ["A 127.0.0.1"] => Ok(()),
            answers => Err(format!("{answers:?}")),
        }
    })
    .await;
    for mut tool in running {
        tool.terminate().await;
    }
}
