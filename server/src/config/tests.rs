use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn load_words(line: &str) -> Result<Settings, Stop> {
    load_with(line, &[])
}

fn load_with(line: &str, variables: &[(&str, &str)]) -> Result<Settings, Stop> {
    let arguments = line.split_whitespace().map(OsString::from).collect();
    load(arguments, &environment(variables), Invocation::default())
}

fn invalid(result: Result<Settings, Stop>) -> String {
    match result {
        Err(Stop::Invalid(line)) => line,
        other => panic!("expected an invalid setting: {other:?}"),
    }
}

fn usage(line: &str) -> String {
    match load_words(line) {
        Err(Stop::Usage(line)) => line,
        other => panic!("expected a usage error: {other:?}"),
    }
}

#[test]
fn nothing_given_is_etcds_defaults() {
    // Shows the defaults that a first start on a fresh machine runs with.
    let settings = load_words("").unwrap();
    assert_eq!(settings.data_dir.to_str(), Some("default.berth"));
    let cluster = settings.initial_cluster.unwrap();
    assert_eq!(cluster.member_id, 0x8e9e_05c5_2164_694d);
    assert_eq!(cluster.cluster_id, 14_841_639_068_965_178_418);
    assert_eq!(join_urls(&settings.addresses.listen_client), "http://localhost:2379");
    assert_eq!(join_urls(&settings.addresses.listen_peer), "http://localhost:2380");
    assert_eq!(settings.limits.quota_bytes, Some(2 << 30));
    assert_eq!(settings.limits.request_bytes_max, 1_572_864);
    assert!(!settings.limits.auto_disarm_nospace);
    assert!(settings.notices.is_empty(), "{:?}", settings.notices);
}

#[test]
fn the_way_of_calling_changes_defaults() {
    // Shows that a link named etcd uses etcd's directory, and that no argument at all turns the
    // automatic disarm on unless it was turned off.
    let called = |as_etcd, bare, variables| {
        load(vec![], &environment(variables), Invocation { as_etcd, bare, from_file: false })
            .unwrap()
    };
    assert_eq!(called(true, false, &[]).data_dir.to_str(), Some("default.etcd"));
    assert!(called(false, true, &[]).limits.auto_disarm_nospace);
    let off = [("ETCD_AUTO_DISARM_NOSPACE", "false")];
    assert!(!called(false, true, &off).limits.auto_disarm_nospace);
}

#[test]
fn all_spellings_of_a_flag() {
    // Shows one and two dashes, value after = or a blank, booleans alone, the last one winning.
    let settings = load_words(
        "-name=x --name y --max-txn-ops 7 -socket-reuse-port --unsafe-no-fsync=false \
         --initial-advertise-peer-urls http://127.0.0.1:9",
    )
    .unwrap();
    assert_eq!(settings.name, "y");
    assert_eq!(settings.limits.txn_ops_max, 7);
    assert!(settings.addresses.reuse_port && !settings.unsafe_no_fsync);
    assert_eq!(settings.initial_cluster.unwrap().members[0].name, "y");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    // Shows Go's own texts for each mistake; the program exits with 2 on them.
    assert_eq!(usage("--bogus"), "flag provided but not defined: -bogus");
    assert_eq!(usage("--name"), "flag needs an argument: -name");
    assert_eq!(
        usage("--heartbeat-interval x"),
        "invalid value \"x\" for flag -heartbeat-interval: parse error"
    );
    assert_eq!(
        usage("--unsafe-no-fsync=x"),
        "invalid boolean value \"x\" for -unsafe-no-fsync: parse error"
    );
    assert_eq!(
        usage("--initial-cluster-state foo"),
        "invalid value \"foo\" for flag -initial-cluster-state: invalid value"
    );
    assert_eq!(usage("---name x"), "bad flag syntax: ---name");
    assert_eq!(load_words("-h").unwrap_err(), Stop::Help);
    assert_eq!(invalid(load_words("stray")), "\"stray\" is not a valid flag");
}

#[test]
fn the_environment_fills_what_flags_left() {
    // Shows precedence, the conflict that etcd dies of, and the warning for an unknown variable.
    let settings = load_with("--name a", &[("ETCD_MAX_TXN_OPS", "9"), ("PATH", "x")]).unwrap();
    assert_eq!((settings.name.as_str(), settings.limits.txn_ops_max), ("a", 9));
    assert_eq!(
        invalid(load_with("--name a", &[("ETCD_NAME", "a")])),
        "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding \
         command-line flag (either unset environment variable or disable flag)"
    );
    let settings = load_with("", &[("ETCD_FOO", "1"), ("ETCD_NAME", "")]).unwrap();
    assert_eq!(
        settings.notices,
        [Notice::Warning("unrecognized environment variable ETCD_FOO=1".into())]
    );
    assert_eq!(
        invalid(load_with("", &[("ETCD_MAX_TXN_OPS", "x")])),
        "invalid value \"x\" for ETCD_MAX_TXN_OPS: parse error"
    );
}

#[test]
fn a_config_file_counts_alone() {
    // Shows that flags and environment beside a file are not read, whoever names the file.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("berth.yaml");
    std::fs::write(&path, "name: filed\nlisten-client-urls: http://127.0.0.1:1\n").unwrap();
    let path = path.to_str().unwrap();
    let settings =
        load_with(&format!("--name a --config-file {path}"), &[("ETCD_NAME", "b")]).unwrap();
    assert_eq!(settings.name, "filed");
    let settings = load_with("--name a", &[("ETCD_CONFIG_FILE", path)]).unwrap();
    assert_eq!(settings.name, "filed");
    assert!(invalid(load_words("--config-file /none")).contains("/none"));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    // Shows that each refused flag stops the start when set, and not when set to its default.
    for flag in table::all() {
        let table::Disposition::Refused(reason) = flag.disposition else { continue };
        let other = match flag.kind {
            value::Kind::Bool if flag.default == "true" => "false",
            value::Kind::Bool => "true",
            value::Kind::Duration => "17s",
            value::Kind::Choice(words) => words.last().copied().unwrap(),
            _ => "something",
        };
        let line = invalid(load_words(&format!("--{}={other}", flag.name)));
        assert_eq!(line, format!("--{} is not supported by berth: {reason}", flag.name));
        assert!(load_words(&format!("--{}={}", flag.name, flag.default)).is_ok(), "{}", flag.name);
    }
}

#[test]
fn what_has_no_effect_is_said() {
    // Shows that an accepted flag leaves a notice with its reason.
    let settings = load_words("--snapshot-count=5 --pre-vote").unwrap();
    let said: Vec<_> = settings
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::NoEffect { flag, value, .. } => Some((*flag, value.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(said, [("pre-vote", "true"), ("snapshot-count", "5")]);
}

#[test]
fn old_names_go_on_working() {
    // Shows that experimental flags and variables are taken with a warning, and gates add up.
    let settings = load_with(
        "--experimental-watch-progress-notify-interval=5s --experimental-initial-corrupt-check",
        &[("ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", "true")],
    )
    .unwrap();
    assert_eq!(settings.progress_notify_interval.as_secs(), 5);
    assert!(settings.initial_corrupt_check);
    let warnings = settings.notices.iter().filter(|n| matches!(n, Notice::Warning(_))).count();
    let gates = settings.notices.iter().filter(|n| matches!(n, Notice::Remark(_))).count();
    assert_eq!((warnings, gates), (3, 2));
    assert!(usage("--experimental-nothing").contains("-experimental-nothing"));
}

#[test]
fn settings_are_checked_against_each_other() {
    // Shows etcd's lines for combinations it refuses.
    assert_eq!(
        invalid(load_words("--listen-client-urls http://127.0.0.1:1")),
        "--advertise-client-urls is required when --listen-client-urls is set explicitly"
    );
    assert_eq!(
        invalid(load_words("--listen-peer-urls http://foo.bar:1")),
        "expected IP in URL for binding (http://foo.bar:1)"
    );
    assert_eq!(
        invalid(load_words("--heartbeat-interval 300")),
        "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]"
    );
    assert!(invalid(load_words("--election-timeout 50001")).contains("too long"));
    assert!(invalid(load_words("--auth-token jwt,x=y")).contains("--auth-token=jwt"));
    assert!(invalid(load_words("--bcrypt-cost 3")).contains("--bcrypt-cost"));
    assert!(invalid(load_words("--max-request-bytes 134217729")).contains("134217728"));
    assert!(invalid(load_words("--log-outputs systemd/journal")).contains("--log-outputs"));
    let two = "--initial-cluster default=http://localhost:2380,b=http://[::1]:1";
    assert_eq!(load_words(two).unwrap().initial_cluster.unwrap().members.len(), 2);
    let stranger = load_words("--initial-cluster a=http://localhost:2380").unwrap();
    assert_eq!(
        stranger.initial_cluster.unwrap_err(),
        "couldn't find local name \"default\" in the initial cluster configuration"
    );
}

#[test]
fn quota_zero_is_the_default_and_negative_is_none() {
    // Shows etcd's three readings of the quota.
    let quota = |text| load_words(text).unwrap().limits.quota_bytes;
    assert_eq!(quota("--quota-backend-bytes=0"), Some(2 << 30));
    assert_eq!(quota("--quota-backend-bytes=-1"), None);
    assert_eq!(quota("--quota-backend-bytes=1000"), Some(1000));
}
