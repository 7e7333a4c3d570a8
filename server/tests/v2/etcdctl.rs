//! Debian's etcdctl, as it is told to speak version 2, prints the same with either server.

use std::time::Duration;

use testkit::{Program, Script, require, subject};

use crate::http::Ask;
use crate::side::{Host, Side, align};

/// One command line; `until` ends one that would not end by itself.
struct Case {
    arguments: &'static [&'static str],
    until: Option<&'static str>,
}

const fn case(arguments: &'static [&'static str]) -> Case {
    Case { arguments, until: None }
}

/// As the article that the seeds quote has it, and every verb with what it can be told. `@N` is
/// the index of the tree at the start, and N.
const CASES: &[Case] = &[
    case(&["ls", "/"]),
    case(&["mkdir", "/kube-centos/network"]),
    case(&[
        "mk",
        "/kube-centos/network/config",
        r#"{ "Network": "172.30.0.0/16", "SubnetLen": 24, "Backend": { "Type": "vxlan" } }"#,
    ]),
    case(&["get", "/kube-centos/network/config"]),
    case(&["ls", "/kube-centos/network"]),
    case(&["mkdir", "/kube-centos/network"]),
    case(&["mk", "/kube-centos/network/config", "again"]),
    case(&["ls", "--recursive", "-p", "/"]),
    case(&["ls", "--sort", "--recursive", "--quorum", "/"]),
    case(&["set", "/a", "1"]),
    case(&["set", "--swap-with-value", "1", "/a", "2"]),
    case(&["set", "--swap-with-value", "1", "/a", "3"]),
    case(&["set", "--swap-with-index", "1", "/a", "3"]),
    case(&["-o", "extended", "get", "/a"]),
    case(&["-o", "json", "get", "/a"]),
    case(&["get", "--quorum", "--sort", "/a"]),
    case(&["get", "/missing"]),
    case(&["get", "/kube-centos"]),
    case(&["ls", "/missing"]),
    case(&["ls", "/a"]),
    case(&["set", "--ttl", "100", "/t", "x"]),
    case(&["set", "/a/b", "x"]),
    case(&["set", "/kube-centos", "x"]),
    case(&["update", "/a", "4"]),
    case(&["update", "--ttl", "90", "/a", "5"]),
    case(&["update", "/missing", "4"]),
    case(&["mkdir", "--ttl", "80", "/d"]),
    case(&["updatedir", "--ttl", "70", "/d"]),
    case(&["updatedir", "--ttl", "70", "/missing"]),
    case(&["setdir", "/e"]),
    case(&["setdir", "--ttl", "60", "/e"]),
    case(&["mk", "--in-order", "/queue", "first"]),
    case(&["mk", "--in-order", "/queue", "second"]),
    case(&["ls", "/queue"]),
    case(&["mk", "--ttl", "50", "/m", "x"]),
    case(&["rm", "/missing"]),
    case(&["rm", "/d"]),
    case(&["rm", "--dir", "/queue"]),
    case(&["rmdir", "/queue"]),
    case(&["rmdir", "/d"]),
    case(&["rm", "--with-value", "9", "/a"]),
    case(&["rm", "--with-index", "1", "/a"]),
    case(&["rm", "--with-value", "5", "/a"]),
    case(&["rm", "--recursive", "/queue"]),
    case(&["rm", "/"]),
    case(&["watch", "--after-index", "@0", "/kube-centos/network/config"]),
    case(&["watch", "--recursive", "--after-index", "@0", "/"]),
    case(&["-o", "extended", "watch", "--after-index", "@2", "/a"]),
    Case {
        arguments: &["watch", "--forever", "--recursive", "--after-index", "@1", "/kube-centos"],
        until: Some("vxlan"),
    },
    case(&["member", "list"]),
    case(&["cluster-health"]),
    case(&["member", "remove", "abc"]),
    case(&["member", "update", "abc", "http://127.0.0.1:1"]),
    case(&["ls", "--no-such-flag"]),
];

/// It tells what comes and nothing of the past, so somebody has to write while it runs.
const EXEC_WATCH: &[&str] = &[
    "exec-watch",
    "--recursive",
    "/exec",
    "--",
    "sh",
    "-c",
    "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE",
];

/// What a command left behind, without what is the server's own.
type Entry = (String, Option<i32>, String, String);

async fn record(side: &mut Side) -> Vec<Entry> {
    let start = side.index().await;
    let members = side.ask(0, &Ask::new("GET", "/v2/members")).await.json();
    let id = members["members"][0]["id"].as_str().unwrap().to_owned();
    let Host::One(server) = &side.host else { panic!("one server is asked") };
    let etcdctl = require("etcdctl", "etcd-client");
    let own = [
        (id, "ID"),
        (format!(":{}", server.client_port), ":CLIENT"),
        (format!(":{}", server.peer_port), ":PEER"),
    ];
    let mut entries = Vec::new();
    for case in CASES {
        let local = |argument: &&str| match argument.strip_prefix('@') {
            Some(more) => (start + more.parse::<u64>().unwrap()).to_string(),
            None => (*argument).to_owned(),
        };
        let mut arguments = vec!["--endpoints".to_owned(), server.endpoint()];
        arguments.extend(case.arguments.iter().map(local));
        let mut script = Script::new(&etcdctl, &arguments).env("ETCDCTL_API", "2");
        if let Some(text) = case.until {
            script = script.until(text);
        }
        let mut finished = script.run().await;
        if case.until.is_some() {
            // How it was killed says nothing.
            finished.code = None;
        }
        let normal = |text: &str| {
            let text =
                own.iter().fold(text.to_owned(), |text, (own, name)| text.replace(own, name));
            without_times(&text)
        };
        let (stdout, stderr) = (normal(&finished.stdout), normal(&finished.stderr));
        entries.push((case.arguments.join(" "), finished.code, stdout, stderr));
    }
    entries
}

/// What exec-watch prints of a change that is made again and again until it has seen one.
async fn exec_watch(side: &mut Side) -> String {
    let Host::One(server) = &side.host else { panic!("one server is asked") };
    let endpoint = server.endpoint();
    let arguments = [&["--endpoints", endpoint.as_str()], EXEC_WATCH].concat();
    let etcdctl = require("etcdctl", "etcd-client");
    let script = Script::new(&etcdctl, &arguments).env("ETCDCTL_API", "2").until("told");
    let write = async {
        loop {
            side.ask(0, &Ask::new("PUT", "/v2/keys/exec/key").form("value=told")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        finished = script.run() => finished.stdout,
        () = write => unreachable!("it goes on until it is seen"),
    }
}

/// Without lines that tell a time or what is left of one, and with listings sorted: etcd's order
/// is random.
fn without_times(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("TTL:"))
        .map(|line| match line.find(",\"expiration\"") {
            Some(at) => line[..at].to_owned(),
            None => line.to_owned(),
        })
        .collect();
    if lines.iter().all(|line| line.starts_with('/')) {
        lines.sort();
    }
    lines.join("\n")
}

/// Proves that the commands of old articles work as they were typed, and that every verb prints
/// what it prints with etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_prints_the_same_with_either_server() {
    let mut etcd = Side::start(Program::etcd(), 1).await;
    let mut berth = Side::start(subject!(), 1).await;
    align(&mut etcd, &mut berth).await;
    let (expected, actual) = tokio::join!(record(&mut etcd), record(&mut berth));
    let differing: Vec<_> = expected.iter().zip(&actual).filter(|(a, b)| a != b).collect();
    assert!(differing.is_empty(), "{} commands differ: {differing:#?}", differing.len());
    let good = expected.iter().filter(|(_, code, ..)| *code == Some(0)).count();
    assert!(good > 25, "{good} commands succeeded");
    let (expected, actual) = tokio::join!(exec_watch(&mut etcd), exec_watch(&mut berth));
    assert_eq!((expected.as_str(), &expected), ("set /exec/key told", &actual));
}
