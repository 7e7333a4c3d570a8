//! `berth template`: files that follow keys, and stay when something is wrong.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Server, eventually, free_port, subject};

use crate::dig::Dns;
use crate::tool::{SOON_S, Tool, berth, delete, endpoints, page, put};

/// A confd directory with one resource.
pub(crate) struct Config {
    directory: TempDir,
}

impl Config {
    /// Of the keys below `/app`; `fields` are further lines of the resource.
    fn new(template: &str, fields: &str) -> Self {
        Self::of_keys("\"/app\"", template, fields)
    }

    /// The same, of other keys; `DIR` in a field is the directory.
    pub(crate) fn of_keys(keys: &str, template: &str, fields: &str) -> Self {
        let config = Self { directory: TempDir::new().expect("a temporary directory") };
        for folder in ["conf.d", "templates"] {
            std::fs::create_dir(config.path(folder)).expect("a folder");
        }
        let (dest, fields) =
            (config.dest(), fields.replace("DIR", &config.path("").display().to_string()));
        let resource = format!(
            "[template]\nsrc = \"a.j2\"\ndest = \"{}\"\nkeys = [{keys}]\n{fields}\n",
            dest.display()
        );
        std::fs::write(config.path("conf.d/a.toml"), resource).expect("a resource");
        std::fs::write(config.path("templates/a.j2"), template).expect("a template");
        config
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dest(&self) -> PathBuf {
        self.path("out.conf")
    }

    pub(crate) fn flag(&self) -> String {
        format!("--config={}", self.directory.path().display())
    }

    pub(crate) fn read(&self) -> String {
        std::fs::read_to_string(self.dest()).unwrap_or_default()
    }

    pub(crate) async fn until(&self, tool: &Tool, wanted: &str) {
        eventually("the file", SOON_S, async || match self.read() {
            text if text == wanted => Ok(()),
            text => Err(format!("{text:?}, not {wanted:?}\n{}", tool.log())),
        })
        .await;
    }
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_rendered_once_or_only_shown() {
    // Proves --onetime, --noop with a diff that touches nothing, modes, that an unchanged file is
    // left alone and reloads nothing, that mistakes end with status 1 and the old file, and that a
    // file which cannot be replaced is written.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    put(&clients, "/prod/app/name", "shop").await;
    put(&clients, "/prod/apple", "no").await;
    let template = "name {{ getv('/app/name') }}\n{% for k in ls('/') %}\n{{ k }}\n{% endfor %}\n";
    let config = Config::new(template, "mode = \"0640\"\nreload_cmd = \"echo >> $RELOADS\"");
    let reloads = config.path("reloads");
    let run = async |more: &[&str]| {
        let config = config.flag();
        let args = [&["template", &endpoints, &config, "--onetime", "--prefix=/prod"], more];
        let script = testkit::Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), &args.concat());
        script.env("RELOADS", &reloads.display().to_string()).run().await
    };
    let shown = run(&["--noop"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("+name shop"), "{shown:?}");
    assert!(!config.dest().exists() && !reloads.exists());
    for _ in 0..2 {
        let done = run(&[]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(config.read(), "name shop\napp\n");
        let mode = std::fs::metadata(config.dest()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(lines(&reloads), 1, "the second time nothing has changed");
    }
    put(&clients, "/prod/app/name", "store").await;
    let diff = run(&["--noop"]).await.stdout;
    assert!(diff.contains("-name shop") && diff.contains("+name store"), "{diff}");
    // Mounted by itself, in a place of its own; undone, too.
    let mounted = format!("mount --bind {0} {0} && exec \"$0\" \"$@\"", config.dest().display());
    let args = ["-rm", "sh", "-c", &mounted, env!("CARGO_BIN_EXE_berth"), "template", &endpoints];
    let flag = config.flag();
    let args = [&args[..], &[&flag, "--onetime", "--prefix=/prod"]].concat();
    let is_permitted = ["-rm", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"];
    let unshare = testkit::require("unshare", "util-linux");
    if testkit::Script::new(&unshare, &is_permitted).run().await.code == Some(0) {
        for (reloads, code, text) in
            [("/no/such/file", 1, "name shop\napp\n"), ("/dev/null", 0, "name store\napp\n")]
        {
            let run = testkit::Script::new(&unshare, &args).env("RELOADS", reloads);
            let done = run.run().await;
            assert_eq!((done.code, config.read().as_str()), (Some(code), text), "{done:?}");
        }
        put(&clients, "/prod/app/name", "shop").await;
        assert_eq!(run(&[]).await.code, Some(0));
    } else {
        testkit::skipped("a template's file that is mounted", "no mounts are permitted");
        put(&clients, "/prod/app/name", "shop").await;
    }
    delete(&clients, "/prod/app/name").await;
    let failed = run(&[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("/app/name"), "{failed:?}");
    assert_eq!(config.read(), "name shop\napp\n");
    std::fs::write(config.path("conf.d/a.toml"), "[template]\nsrc = 7").unwrap();
    assert_eq!(run(&[]).await.code, Some(128));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_given_to_its_owner() {
    // Proves the fields uid and gid: the file is theirs, is put right when it is somebody else's
    // although its text is the same, and cannot be theirs who do not exist as numbers.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    put(&server.clients(), "/app/v", "1").await;
    let config = Config::new("{{ getv('/app/v') }}", "uid = 65534\ngid = 65533");
    let run = async || berth(&["template", &endpoints, &config.flag(), "--onetime"]).await;
    let own = std::fs::metadata(config.path("")).unwrap().uid();
    let done = run().await;
    if own != 0 {
        // Only root may give files away.
        assert_eq!((done.code, config.read().as_str()), (Some(1), ""), "{done:?}");
        return testkit::skipped("a template's file that is another's", "this is not root");
    }
    for before in [None, Some((0, 0)), Some((65534, 0))] {
        if let Some((uid, gid)) = before {
            std::os::unix::fs::chown(config.dest(), Some(uid), Some(gid)).unwrap();
        }
        let done = run().await;
        assert_eq!((done.code, config.read().as_str()), (Some(0), "1"), "{done:?}");
        let file = std::fs::metadata(config.dest()).unwrap();
        assert_eq!((file.uid(), file.gid()), (65534, 65533), "{before:?}");
    }
    let resource = std::fs::read_to_string(config.path("conf.d/a.toml")).unwrap();
    std::fs::write(config.path("conf.d/a.toml"), resource.replace("65534", "-1")).unwrap();
    assert_eq!(run().await.code, Some(128));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_never_takes_the_old_ones_place() {
    // Proves that the check sees the new file before it is in place, that a failed check or reload
    // leaves the old file and is told, and that it is tried again when the reason is gone.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    put(&clients, "/app/v", "1").await;
    let config = Config::new(
        "v={{ getv('/app/v') }}",
        "check_cmd = \"! grep bad {{.src}}\"\nreload_cmd = \"! test -e DIR/broken\"",
    );
    let resource = std::fs::read_to_string(config.path("conf.d/a.toml")).unwrap();
    let directory = config.directory.path().display().to_string();
    std::fs::write(config.path("conf.d/a.toml"), resource.replace("DIR", &directory)).unwrap();
    let tool = Tool::berth(&["template", &endpoints(&server), &config.flag(), "--watch"]);
    config.until(&tool, "v=1").await;
    let told = async |words: &str| {
        let said = async || tool.log().contains(words).then_some(()).ok_or(tool.log());
        eventually(words, SOON_S, said).await;
    };
    put(&clients, "/app/v", "bad").await;
    told("check: ").await;
    assert_eq!(config.read(), "v=1");
    put(&clients, "/app/v", "2").await;
    config.until(&tool, "v=2").await;
    // It is in place before it is loaded.
    let loaded = async || match tool.log().matches("\"msg\":\"written\"").count() {
        2 => Ok(()),
        _ => Err(tool.log()),
    };
    eventually("the second is loaded", SOON_S, loaded).await;
    std::fs::write(config.path("broken"), "").unwrap();
    put(&clients, "/app/v", "3").await;
    told("reload: ").await;
    config.until(&tool, "v=2").await;
    std::fs::remove_file(config.path("broken")).unwrap();
    config.until(&tool, "v=3").await;
    // conf.d, templates and the file: the old one is kept until the reload is done, no longer.
    let tidy = async || match std::fs::read_dir(config.directory.path()).unwrap().count() {
        3 => Ok(()),
        left => Err(format!("{left} entries")),
    };
    eventually("nothing else is left", SOON_S, tidy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_a_reload_end() {
    // Proves that whoever reads a file is told of it although the signal to stop comes meanwhile.
    let server = Server::start(subject!(), &[]).await;
    put(&server.clients(), "/app/v", "1").await;
    for more in [&["--watch"][..], &["--onetime"]] {
        let config = Config::new("{{ getv('/app/v') }}", "");
        let (begun, done) = (config.path("begun"), config.path("done"));
        let resource = std::fs::read_to_string(config.path("conf.d/a.toml")).unwrap();
        let reload = format!("touch {}; sleep 1; touch {}", begun.display(), done.display());
        let resource = format!("{resource}reload_cmd = \"{reload}\"\n");
        std::fs::write(config.path("conf.d/a.toml"), resource).unwrap();
        let (endpoints, flag) = (endpoints(&server), config.flag());
        let mut tool = Tool::berth(&[&["template", &endpoints, &flag], more].concat());
        let started = async || begun.exists().then_some(()).ok_or(tool.log());
        eventually("the reload begins", SOON_S, started).await;
        assert_eq!(tool.terminate().await.code(), Some(0), "{}", tool.log());
        assert!(done.exists(), "{more:?}: {}", tool.log());
        assert_eq!(config.read(), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_changes_cause_one_reload() {
    // Proves that many writes in a short time are one file: far fewer reloads than writes, and the
    // last state wins.
    const WRITES: usize = 100;
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    put(&clients, "/app/v", "none").await;
    let config = Config::new("{{ getvs('/app/*') | join(',') }}", "");
    let reloads = config.path("reloads");
    let resource = std::fs::read_to_string(config.path("conf.d/a.toml")).unwrap();
    let reload = format!("{resource}reload_cmd = \"echo >> {}\"\n", reloads.display());
    std::fs::write(config.path("conf.d/a.toml"), reload).unwrap();
    let tool = Tool::berth(&["template", &endpoints(&server), &config.flag()]);
    config.until(&tool, "none").await;
    let started = Instant::now();
    let writes = (1..=WRITES).map(|at| {
        let clients = clients.clone();
        async move { put(&clients, "/app/v", &at.to_string()).await }
    });
    futures::future::join_all(writes).await;
    let took = started.elapsed();
    put(&clients, "/app/v", "last").await;
    config.until(&tool, "last").await;
    let bursts = 3 + usize::try_from(took.as_millis() / 50).unwrap();
    println!("{WRITES} writes in {took:?} caused {} reloads", lines(&reloads) - 1);
    assert!(lines(&reloads) - 1 <= bursts.min(WRITES / 2), "{} in {took:?}", lines(&reloads));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_while_the_store_is_away() {
    // Proves that the last state stays in place, is marked stale in the metrics and the log, and
    // that what changed meanwhile is rendered when the store is back.
    let mut server = Server::start(subject!(), &[]).await;
    put(&server.clients(), "/app/v", "1").await;
    let config = Config::new("{{ getv('/app/v') }}", "");
    let port = free_port();
    let metrics = format!("--listen-metrics=127.0.0.1:{port}");
    let tool = Tool::berth(&["template", &endpoints(&server), &config.flag(), &metrics]);
    config.until(&tool, "1").await;
    server.kill();
    let stale = async |wanted: &str| {
        let line = format!("berth_discovery_stale{{part=\"/app\"}} {wanted}");
        eventually(&line, SOON_S, async || match page(port, "/metrics").await {
            text if text.contains(&line) => Ok(()),
            text => Err(text),
        })
        .await;
    };
    stale("1").await;
    assert_eq!(config.read(), "1");
    assert!(tool.log().contains("cannot follow the store"), "{}", tool.log());
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart().await;
    put(&server.clients(), "/app/v", "2").await;
    config.until(&tool, "2").await;
    stale("0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_when_a_file_is_rendered() {
    // Proves the lookups of confd, by a resolver that was named: sorted addresses of both families,
    // service records, a name that does not exist, and that a resolver which does not answer leaves
    // the old file.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for (name, address, port) in [("1", "10.0.0.2", 81), ("2", "10.0.0.1", 80), ("3", "::2", 82)] {
        let document = format!(r#"{{"address":"{address}","port":{port},"weight":3}}"#);
        put(&clients, &format!("/services/web/{name}"), &document).await;
    }
    put(&clients, "/app/v", "1").await;
    let dns = Dns::start(&server, &[]).await;
    dns.until(&["web.service.cluster.local"], &["A 10.0.0.1", "A 10.0.0.2"]).await;
    let template = "{% set name = 'web.service.cluster.local' %}\
                    {{ lookupIP(name) | join(' ') }}, {{ lookupIPV4(name) | join(' ') }}, \
                    {{ lookupIPV6(name) | join(' ') }}, {{ lookupIP('no.cluster.local') | length }}\n\
                    {% for s in lookupSRV('web', 'tcp', 'service.cluster.local') %}\
                    {{ s.target }} {{ s.port }} {{ s.priority }} {{ s.weight }};{% endfor %}";
    let config = Config::new(template, "");
    let wanted = "10.0.0.1 10.0.0.2 ::2, 10.0.0.1 10.0.0.2, ::2, 0\n\
                  0-0-0-0-0-0-0-2.addr.cluster.local. 82 1 3;\
                  10-0-0-1.addr.cluster.local. 80 1 3;10-0-0-2.addr.cluster.local. 81 1 3;";
    let (endpoints, flag) = (endpoints(&server), config.flag());
    let render = async |port: u16| {
        let resolver = format!("--resolver=127.0.0.1:{port}");
        berth(&["template", &endpoints, &flag, "--onetime", &resolver]).await
    };
    let done = render(dns.port).await;
    assert_eq!((done.code, config.read().as_str()), (Some(0), wanted), "{done:?}");
    let failed = render(free_port()).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("web.service.cluster.local"), "{failed:?}");
    assert_eq!(config.read(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_values_are_read_by_their_recipients_alone() {
    // Proves that the store never sees the value, that an identity file reads it back next to
    // plain ones, that another identity does not, and that templates read it with the first alone.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let directory = TempDir::new().unwrap();
    let mut recipients = Vec::new();
    let mut files = Vec::new();
    for name in ["mine", "theirs"] {
        let key = berth(&["ctl", "seal-keygen"]).await.stdout;
        recipients.push(key.split_whitespace().nth(3).unwrap().to_owned());
        let file = directory.path().join(name);
        std::fs::write(&file, key).unwrap();
        files.push(format!("--unseal={}", file.display()));
    }
    let to = format!("--seal-to={}", recipients[0]);
    let done = berth(&["ctl", &endpoints, "put", &to, "/app/secret", "swordfish"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    put(&clients, "/app/plain", "open").await;
    let stored = crate::tool::get(&clients, "/app/secret").await.unwrap().value;
    let stored = String::from_utf8(stored.to_vec()).unwrap();
    assert!(stored.starts_with("-----BEGIN AGE") && !stored.contains("swordfish"), "{stored}");
    let read = berth(&["ctl", &endpoints, "get", "--prefix", "/app/", &files[0]]).await;
    assert_eq!(read.stdout, "/app/plain\nopen\n/app/secret\nswordfish\n", "{read:?}");
    let refused = berth(&["ctl", &endpoints, "get", "/app/secret", &files[1]]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("/app/secret"), "{refused:?}");
    let config = Config::new("{{ getv('/app/plain') }} {{ cgetv('/app/secret') }}", "");
    let render = async |more: &[&str]| {
        berth(&[&["template", &endpoints, &config.flag(), "--onetime"], more].concat()).await
    };
    let done = render(&[&files[0]]).await;
    assert_eq!((done.code, config.read().as_str()), (Some(0), "open swordfish"), "{done:?}");
    for more in [&[files[1].as_str()][..], &[]] {
        let refused = render(more).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("/app/secret"), "{refused:?}");
    }
    assert_eq!(render(&["--unseal=/no/such"]).await.code, Some(128));
    let wrong = berth(&["ctl", &endpoints, "put", "--seal-to=me", "/app/secret", "x"]).await;
    assert_eq!(wrong.code, Some(128), "{wrong:?}");
    assert!(crate::tool::get(&clients, "/app/secret").await.unwrap().value == stored.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_values_are_ages() {
    // Proves both ways with Debian's age: it reads what berth sealed, berth reads what it sealed, and
    // the identities of either are the other's, one file of several too.
    let age = testkit::require("age", "age");
    let age_keygen = testkit::require("age-keygen", "age");
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let directory = TempDir::new().unwrap();
    let theirs = testkit::Script::new::<&str>(&age_keygen, &[]).run().await.stdout;
    let ours = berth(&["ctl", "seal-keygen"]).await.stdout;
    let both = theirs.clone() + &ours;
    let files = [("theirs", &theirs), ("ours", &ours), ("both", &both)];
    let [theirs_at, ours_at, both_at] = files.map(|(name, keys)| {
        let file = directory.path().join(name);
        std::fs::write(&file, keys).unwrap();
        file.display().to_string()
    });
    for (at, (keys, file)) in [(&theirs, &theirs_at), (&ours, &ours_at)].into_iter().enumerate() {
        let recipient = keys.split("public key: ").nth(1).expect("a recipient").lines().next();
        let (recipient, key) = (recipient.expect("a line"), format!("/sealed/{at}"));
        let to = format!("--seal-to={recipient}");
        let done = berth(&["ctl", &endpoints, "put", &to, &key, "swordfish"]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let sealed = crate::tool::get(&clients, &key).await.unwrap().value;
        for identity in [file, &both_at] {
            let args = ["--decrypt", "--identity", identity];
            let read = testkit::Script::new(&age, &args).stdin(sealed.clone()).run().await;
            assert_eq!((read.code, read.stdout.as_str()), (Some(0), "swordfish"), "{read:?}");
        }
        let args = ["--encrypt", "--armor", "--recipient", recipient];
        let sealed = testkit::Script::new(&age, &args).stdin("marlin").run().await;
        assert_eq!(sealed.code, Some(0), "{sealed:?}");
        put(&clients, &key, &sealed.stdout).await;
        for identity in [file, &both_at] {
            let unseal = format!("--unseal={identity}");
            let read =
                berth(&["ctl", &endpoints, "get", "--print-value-only", &key, &unseal]).await;
            assert_eq!((read.code, read.stdout.as_str()), (Some(0), "marlin\n"), "{read:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_its_name_are_on_the_disk() {
    // Proves that the new file is synced before it takes the place of the old one, and the directory
    // then: by the real calls of the real process. So a power failure leaves one of the two, whole.
    let directory = TempDir::new().unwrap();
    let syncs = match testkit::Syncs::compile(directory.path()) {
        Ok(syncs) => syncs,
        Err(why) => return testkit::skipped("syncs of a template's file", &why),
    };
    let server = Server::start(subject!(), &[]).await;
    let config = Config::new("name {{ getv('/app/name') }}\n", "");
    let args = ["template", &endpoints(&server), &config.flag(), "--onetime"];
    let place = config.dest().parent().unwrap().display().to_string();
    // The second time there is an old file, of which a copy is kept until the new one has its place.
    for (name, files) in [("shop", 1), ("store", 2)] {
        put(&server.clients(), "/app/name", name).await;
        let list = directory.path().join(name);
        let script = testkit::Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), &args);
        let variables = syncs.recording(&list);
        let script = variables.iter().fold(script, |script, (name, value)| script.env(name, value));
        let done = script.run().await;
        assert_eq!((done.code, config.read()), (Some(0), format!("name {name}\n")), "{done:?}");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        let synced: Vec<&str> = list.lines().filter(|path| path.starts_with(&place)).collect();
        let (last, before) = synced.split_last().expect("something is synced");
        let is_staged = |path: &&&str| path.starts_with(&format!("{place}/.out.conf."));
        assert_eq!(
            (*last, before.iter().filter(is_staged).count()),
            (&*place, files),
            "{synced:?}"
        );
    }
}
