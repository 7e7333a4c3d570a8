//! `check` and `make-mirror`: what etcdctl says of a load, and a copy that follows.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use testkit::{Finished, Program, Script, Server, bounded, eventually, require, subject};

const SOON_S: u64 = 30;

async fn berth(args: &[&str]) -> Finished {
    Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), args).run().await
}

async fn etcdctl(args: &[&str]) -> Finished {
    let etcdctl = require("etcdctl", "etcd-client");
    Script::new(&etcdctl, args).env("ETCDCTL_API", "3").run().await
}

fn endpoints(server: &Server) -> String {
    format!("--endpoints={}", server.endpoint())
}

/// Every number as a hash sign; what is drawn over and over left out.
fn shape(text: &str) -> Vec<String> {
    // Memory may have become less meanwhile.
    let text = text.replace(": -", ": ");
    let lines = text.split(['\r', '\n']).map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.contains('%'));
    let shape = |line: &str| {
        let mut shape = String::new();
        for letter in line.chars() {
            match letter {
                '0'..='9' | '.' | '-' if shape.ends_with('#') => {}
                '0'..='9' => shape.push('#'),
                letter => shape.push(letter),
            }
        }
        shape
    };
    lines.map(shape).collect()
}

/// Proves that a load which the server holds up to passes in etcdctl's words, that what was written
/// is gone afterwards, and that a prefix with keys and an unknown load are refused as there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_say_what_etcdctl_says() {
    let server = Server::start(subject!(), &[]).await;
    let at = endpoints(&server);
    let perf = ["ctl", &at, "check", "perf", "--seconds=3", "--auto-compact", "--auto-defrag"];
    let perf = berth(&perf).await;
    let said = shape(&perf.stdout);
    let endpoint = shape(&format!("Defragmenting \"{}\"", server.endpoint())).remove(0);
    let defragmented = endpoint.replace("menting", "mented");
    let begins =
        ["Compacting with revision #", "Compacted with revision #", &endpoint, &defragmented];
    assert_eq!(said[..4], begins, "{perf:?}");
    // A busy machine may be too slow: then it says so, and fails.
    let good =
        ["PASS: Throughput is # writes/s", "PASS: Slowest request took #s", "PASS: Stddev is #s"];
    let bad = [
        "FAIL: Throughput too low: # writes/s",
        "Slowest request took too long: #s",
        "Stddev too high: #s",
    ];
    let rest = &said[4..];
    assert_eq!(rest.len(), 4, "{perf:?}");
    for (line, (good, bad)) in rest.iter().zip(good.into_iter().zip(bad)) {
        assert!(line == good || line == bad, "{perf:?}");
    }
    let passed = rest[..3].iter().all(|line| line.starts_with("PASS"));
    assert_eq!(
        (rest[3].as_str(), perf.code),
        (if passed { "PASS" } else { "FAIL" }, Some(i32::from(!passed)))
    );

    let ours = berth(&["ctl", &at, "check", "datascale", "--auto-compact"]).await;
    assert_eq!((ours.code, ours.stderr.as_str()), (Some(0), ""), "{ours:?}");
    let theirs = etcdctl(&[&at, "check", "datascale", "--auto-compact"]).await;
    assert_eq!(shape(&ours.stdout), shape(&theirs.stdout));

    let everything =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let left = bounded(server.clients().kv.range(everything)).await.unwrap().into_inner();
    assert_eq!(left.count, 0, "they clean up");
    for prefix in ["/etcdctl-check-perf/", "/etcdctl-check-datascale/"] {
        let put = PutRequest { key: format!("{prefix}k").into(), ..Default::default() };
        bounded(server.clients().kv.put(put)).await.unwrap();
    }
    for words in [
        &["check", "perf"][..],
        &["check", "datascale"],
        &["check", "perf", "--load=xxl"],
        &["check", "datascale", "--load="],
    ] {
        let ours = berth(&[&["ctl", &at][..], words].concat()).await;
        let theirs = etcdctl(&[&[at.as_str()][..], words].concat()).await;
        let seen = |it: &Finished| (it.code, it.stdout.clone(), it.stderr.clone());
        assert_eq!(seen(&ours), seen(&theirs), "{words:?}");
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Proves that a mirror of berth's copies, renames and follows what one of etcdctl's does, and that
/// wrong command lines get the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_made_as_etcdctl_makes_it() {
    let from = Server::start(subject!(), &[]).await;
    let (ours, theirs) =
        (Server::start(Program::etcd(), &[]).await, Server::start(Program::etcd(), &[]).await);
    let put = async |key: &str, value: &str| {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let put = PutRequest { key, value, ..Default::default() };
        bounded(from.clients().kv.put(put)).await.unwrap();
    };
    for number in 0..1200 {
        put(&format!("a/{number}"), "before").await;
    }
    put("b/1", "other").await;
    let at = endpoints(&from);
    let run = |program: &Path, first: &[&str], to: &Server| {
        let to = to.endpoint();
        let words = ["make-mirror", "--prefix=a/", "--dest-prefix=copy/", &to];
        let child = Command::new(program)
            .args(first)
            .args([&[at.as_str()][..], &words].concat())
            .env("ETCDCTL_API", "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(child.unwrap())
    };
    let _ours = run(Path::new(env!("CARGO_BIN_EXE_berth")), &["ctl"], &ours);
    let _theirs = run(&require("etcdctl", "etcd-client"), &[], &theirs);
    let contents = async |server: &Server| {
        let all =
            RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
        let found = bounded(server.clients().kv.range(all)).await.unwrap().into_inner();
        found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect::<Vec<_>>()
    };
    let both_have = async |count: usize| {
        eventually("both mirrors have come so far", SOON_S, async || {
            let (ours, theirs) = (contents(&ours).await, contents(&theirs).await);
            if ours.len() == count && ours == theirs {
                return Ok(());
            }
            Err(format!("{} and {} keys", ours.len(), theirs.len()))
        })
        .await;
    };
    both_have(1200).await;
    let delete = async |key: &str, range_end: &str| {
        let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
        let gone = DeleteRangeRequest { key, range_end, ..Default::default() };
        let gone = bounded(from.clients().kv.delete_range(gone)).await.unwrap().into_inner();
        usize::try_from(gone.deleted).unwrap()
    };
    let gone = delete("a/11", "a/12").await;
    put("a/5", "after").await;
    put("a/new", "after").await;
    put("b/2", "other").await;
    both_have(1201 - gone).await;
    // More than a transaction may hold: etcdctl of 3.4 ends there.
    let left = 1201 - gone - delete("a/1", "a/2").await;
    eventually("a large revision is copied", SOON_S, async || match contents(&ours).await.len() {
        count if count == left => Ok(()),
        count => Err(format!("{count} keys, not {left}")),
    })
    .await;
    let copied = contents(&ours).await;
    assert!(copied.iter().all(|(key, _)| key.starts_with(b"copy/")));
    assert!(copied.contains(&("copy/5".into(), "after".into())));

    for words in [
        &["make-mirror"][..],
        &["make-mirror", "http://a", "http://b"],
        &["make-mirror", "--no-dest-prefix", "--dest-prefix=x", "http://a"],
    ] {
        let ours = berth(&[&["ctl", &at][..], words].concat()).await;
        let theirs = etcdctl(&[&[at.as_str()][..], words].concat()).await;
        assert_eq!((ours.code, ours.stderr), (theirs.code, theirs.stderr), "{words:?}");
    }
}

/// Proves that the scripts for shells are ones: bash takes them, and completes by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shells_complete_commands_and_flags() {
    let complete = async |words: &[&str], function: &str, line: &str| {
        let script = berth(words).await;
        assert_eq!(script.code, Some(0), "{script:?}");
        let line: Vec<&str> = line.split(' ').collect();
        let last = line.len() - 1;
        let previous = line[last.saturating_sub(1)];
        let ask = format!(
            "COMP_WORDS=({}); COMP_CWORD={last}; {function} {} '{}' {previous}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            line[0],
            line[last],
        );
        let bash = require("bash", "bash");
        let said = Script::new(&bash, &["--norc"]).stdin(format!("{}\n{ask}\n", script.stdout));
        let said = said.run().await;
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
        said.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = complete(&["completion", "bash"], "_berth", "berth ctl check da").await;
    assert_eq!(ours, ["datascale"]);
    let mut flags = complete(&["completion", "bash"], "_berth", "berth serve --listen-c").await;
    flags.sort_unstable();
    assert_eq!(flags, ["--listen-client-http-urls", "--listen-client-urls"]);
    let link = complete(&["ctl", "completion", "bash"], "_etcdctl", "etcdctl make").await;
    assert_eq!(link, ["make-mirror"]);
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let script = berth(&["completion", shell]).await;
        assert!(script.code == Some(0) && script.stdout.contains("datascale"), "{shell}");
    }
    assert_eq!(berth(&["completion", "none"]).await.code, Some(2));
}
