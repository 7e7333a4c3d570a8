//! The binary as operators and harnesses meet it: how it starts, what it says, how it ends.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod harness;
mod tls;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use harness::{BERTH, PATIENCE, Place, Running, berth, failure, free_port, get, run, text};

/// The value of a metric without labels.
fn sample(metrics: &str, name: &str) -> f64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

#[test]
fn versions_are_printed_as_harnesses_parse_them() {
    // Shows etcd's first line, under both names of the binary and with any other flag beside it.
    let dir = tempfile::tempdir().unwrap();
    let etcd = dir.path().join("etcd");
    std::os::unix::fs::symlink(BERTH, &etcd).unwrap();
    for (program, args) in [
        (Path::new(BERTH), vec!["--version"]),
        (Path::new(BERTH), vec!["serve", "--name", "x", "--version"]),
        (&etcd, vec!["-version"]),
    ] {
        let output = run(berth(program).args(args));
        assert!(output.status.success());
        let stdout = text(&output.stdout);
        let mut lines = stdout.lines();
        assert_eq!(lines.next(), Some("etcd Version: 3.7.1"));
        assert!(lines.next().unwrap().starts_with("berth Version: "));
    }
}

#[test]
fn help_lists_every_flag() {
    // Shows that help goes to stdout with exit code 0 and names supported and refused flags.
    let output = run(berth(BERTH).args(["serve", "--help"]));
    assert!(output.status.success());
    let help = text(&output.stdout);
    for flag in ["--data-dir", "--listen-client-urls", "--discovery", "--auto-disarm-nospace"] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(text(&run(berth(BERTH).arg("--help")).stdout).contains("berth ctl"));
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    // Shows usage errors: an unknown flag, a value of the wrong kind, an unknown command.
    let (code, line) = failure(berth(BERTH).args(["serve", "--bogus"]));
    assert_eq!(code, 2);
    assert!(line.starts_with("flag provided but not defined: -bogus\n"), "{line}");
    assert_eq!(failure(berth(BERTH).args(["serve", "--max-txn-ops", "x"])).0, 2);
    assert_eq!(failure(berth(BERTH).arg("bogus")).0, 2);
}

#[test]
fn a_refused_start_is_one_line() {
    // Shows that each bad setting or directory ends with code 1, one line that names it, and no
    // data directory made.
    let place = Place::new();
    let etcds = place.dir.path().join("etcds");
    fs::create_dir_all(etcds.join("member/wal")).unwrap();
    let file = place.dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let cases = [
        ("--discovery=http://x", "--discovery is not supported by berth"),
        ("--listen-metrics-urls=http://foo.bar:1", "expected IP in URL for binding"),
        ("--initial-cluster-state=existing", "needs the other members in --initial-cluster"),
        (&format!("--data-dir={}", etcds.display()), "holds data of etcd"),
        (&format!("--data-dir={}", file.display()), "cannot use directory"),
        ("--config-file=/none.yaml", "/none.yaml"),
        ("--log-outputs=/none/log", "/none/log"),
    ];
    for (flag, part) in cases {
        let (code, stderr) = failure(place.command().arg(flag));
        let errors: Vec<&str> =
            stderr.lines().filter(|line| !line.contains("\"level\":\"info\"")).collect();
        assert_eq!(code, 1, "{flag}: {stderr}");
        assert_eq!(errors.len(), 1, "{flag}: {stderr}");
        assert!(errors[0].contains(part), "{flag}: {stderr}");
    }
    assert!(!place.data_dir().exists());
}

#[test]
fn it_starts_serves_and_stops() {
    // Shows a whole life: ready line, HTTP endpoints, private data directory, exit code 0 on
    // SIGTERM, and the same again on the same directory with SIGINT.
    let place = Place::new();
    for signal in ["-TERM", "-INT"] {
        let mut server = Running::start(&mut place.command());
        assert_eq!(get(place.client, "/health").1, r#"{"health":"true","reason":""}"#);
        assert_eq!(get(place.client, "/readyz"), (200, "ok\n".to_owned()));
        assert!(get(place.client, "/version").1.contains(r#""etcdserver":"3.7.1""#));
        let metrics = get(place.client, "/metrics").1;
        for line in ["etcd_server_has_leader 1", "etcd_server_is_leader 1"] {
            assert!(metrics.lines().any(|found| found == line), "{line} not in\n{metrics}");
        }
        // The start itself has written: a vote, the membership, this member's name.
        assert!(sample(&metrics, "etcd_disk_wal_fsync_duration_seconds_count") > 0.0);
        assert!(sample(&metrics, "process_resident_memory_bytes") > 0.0);
        assert_eq!(sample(&metrics, "etcd_server_leader_changes_seen_total"), 1.0);
        assert_eq!(sample(&metrics, "etcd_server_proposals_pending"), 0.0);
        // The health checks have read, nobody has written.
        assert!(sample(&metrics, "etcd_mvcc_range_total") >= 1.0);
        assert_eq!(sample(&metrics, "etcd_mvcc_put_total"), 0.0);
        assert_eq!(get(place.client, "/nothing").0, 404);
        assert_eq!(get(place.peer, "/version").0, 200);
        assert_eq!(get(place.peer, "/health").0, 404);
        let mode = fs::metadata(place.data_dir()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(server.signal(signal).code(), Some(0));
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    // Shows that a second server on the directory ends with one line and leaves the first alone.
    let place = Place::new();
    let _first = Running::start(&mut place.command());
    let mut second = Place::new();
    let own = std::mem::replace(&mut second.dir, tempfile::tempdir().unwrap());
    let data = format!("--data-dir={}", place.data_dir().display());
    let (code, stderr) = failure(second.command().arg(data));
    assert_eq!(code, 1);
    assert!(stderr.lines().last().unwrap().contains("data"), "{stderr}");
    assert_eq!(get(place.client, "/health").0, 200);
    drop(own);
}

#[test]
fn an_address_in_use_is_named() {
    // Shows that the server does not start without all of its addresses.
    let place = Place::new();
    let _taken = TcpListener::bind(("127.0.0.1", place.client)).unwrap();
    let (code, stderr) = failure(&mut place.command());
    assert_eq!(code, 1);
    let url = place.url(place.client);
    assert!(stderr.lines().last().unwrap().contains(&url), "{stderr}");
}

#[test]
fn a_member_stays_who_it_is_whatever_its_flags_say() {
    // Shows that a restart under another token, or with flags about the first cluster that make no
    // sense at all, is the same member of the same cluster, as in etcd: only its first start looks
    // at them, and refuses them.
    let place = Place::new();
    let born = Running::start(&mut place.command());
    let ids = server_id(&get(place.client, "/metrics").1);
    drop(born);
    for flag in ["--initial-cluster-token=other", "--initial-cluster=x=http://10.0.0.9:1", NONSENSE]
    {
        let again = Running::start(place.command().arg(flag));
        assert_eq!(server_id(&get(place.client, "/metrics").1), ids, "{flag}");
        drop(again);
    }
    let (code, stderr) = failure(Place::new().command().arg(NONSENSE));
    assert_eq!(code, 1);
    assert!(stderr.contains("incorrect entry"), "{stderr}");
}

const NONSENSE: &str = "--initial-cluster=nonsense";

/// The line that names the member.
fn server_id(metrics: &str) -> String {
    let line = metrics.lines().find(|line| line.starts_with("etcd_server_id{"));
    line.expect("every member has an id").to_owned()
}

#[test]
fn a_corrupted_log_is_refused() {
    // Shows that a log whose beginning is damaged stops the start, with its directory named.
    let place = Place::new();
    Running::start(&mut place.command()).signal("-TERM");
    let wal = place.data_dir().join("wal");
    let mut segments: Vec<PathBuf> =
        fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let segment = segments.iter().find(|path| path.metadata().unwrap().len() > 0).unwrap();
    let mut bytes = fs::read(segment).unwrap();
    bytes[..64].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(segment, bytes).unwrap();
    let (code, stderr) = failure(&mut place.command());
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("wal"), "{stderr}");
}

#[test]
fn started_bare_it_says_what_to_do_next() {
    // Shows the greeting of the no-argument start: the address and three commands, on stdout; and
    // that the v2 API is served then.
    let place = Place::new();
    let mut command = berth(BERTH);
    let (client, peer) = (place.url(place.client), place.url(place.peer));
    command
        .current_dir(place.dir.path())
        .env("BERTH_ORCHESTRATOR", "off")
        .env("ETCD_LISTEN_CLIENT_URLS", &client)
        .env("ETCD_ADVERTISE_CLIENT_URLS", &client)
        .env("ETCD_LISTEN_PEER_URLS", &peer)
        .env("ETCD_INITIAL_ADVERTISE_PEER_URLS", &peer);
    let mut server = Running::start(&mut command);
    assert_eq!(get(place.client, "/v2/keys/").0, 200);
    assert_eq!(server.signal("-TERM").code(), Some(0));
    let mut stdout = String::new();
    server.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(stdout.contains(&client), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.trim().starts_with("berth ctl ")).count(), 3);
    assert!(place.dir.path().join("default.berth").is_dir());
}

#[test]
fn called_etcd_it_uses_etcds_directory() {
    // Shows that through a link named etcd the flags start a server, with data in NAME.etcd and
    // metrics on an address of their own.
    let place = Place::new();
    let etcd = place.dir.path().join("etcd");
    std::os::unix::fs::symlink(BERTH, &etcd).unwrap();
    let (client, peer, metrics) = (place.url(place.client), place.url(place.peer), free_port());
    let mut command = berth(etcd);
    command
        .current_dir(place.dir.path())
        .args(["--name=e1", "-log-format", "console", "--log-outputs=stderr"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--listen-metrics-urls", &place.url(metrics)]);
    let mut server = Running::start(&mut command);
    assert_eq!(get(metrics, "/health").0, 200);
    assert_eq!(get(metrics, "/version").0, 404);
    assert_eq!(server.signal("-TERM").code(), Some(0));
    assert!(place.dir.path().join("e1.etcd").is_dir());
}

#[test]
fn ids_are_those_that_etcd_would_have() {
    // Shows member and cluster id of etcd's default flags, as etcd 3.4.23 prints them, in the
    // header of a real client's answer. Only the addresses that are not advertised differ.
    let place = Place::new();
    let (client, peer) = (place.url(place.client), place.url(place.peer));
    let mut command = berth(BERTH);
    command
        .current_dir(place.dir.path())
        .args(["serve", "--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer]);
    let _server = Running::start(&mut command);
    let mut etcdctl = berth("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &client, "put", "k", "v", "-w", "json"]);
    let header = text(&run(&mut etcdctl).stdout);
    for part in ["\"cluster_id\":14841639068965178418", "\"member_id\":10276657743932975437"] {
        assert!(header.contains(part), "{header}");
    }
}

#[test]
fn the_service_manager_is_told() {
    // Shows systemd's protocol: READY when it serves, STOPPING when it begins to stop.
    let place = Place::new();
    let path = place.dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut message = [0; 256];
        let len = manager.recv(&mut message).unwrap();
        text(&message[..len])
    };
    let mut server = Running::start(place.command().env("NOTIFY_SOCKET", &path));
    assert!(told().contains("READY=1"));
    assert_eq!(server.signal("-TERM").code(), Some(0));
    assert!(told().contains("STOPPING=1"));
}

#[test]
#[cfg(not(feature = "failpoints"))]
fn failpoints_are_not_in_an_ordinary_build() {
    // Shows that who asks for failpoints is told in the log that there are none, that nobody
    // listens for them, and that none is set: the server starts although each start passes this one.
    let place = Place::new();
    let port = free_port();
    let mut command = place.command();
    command
        .env("GOFAIL_HTTP", format!("127.0.0.1:{port}"))
        .env("GOFAIL_FAILPOINTS", "raftBeforeSave=panic");
    let mut server = Running::start(&mut command);
    for name in ["GOFAIL_HTTP", "GOFAIL_FAILPOINTS"] {
        let warned = server
            .before_ready
            .iter()
            .any(|line| line.contains("\"warn\"") && line.contains(&format!("{name} is ignored")));
        assert!(warned, "no warning of {name} in {:?}", server.before_ready);
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(server.signal("-TERM").success());
}
