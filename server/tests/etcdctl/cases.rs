//! The scripts: one command per line, in the order in which they run.
//!
//! `$LEASE` is the last lease granted, `$FILE` a file to write, `$CLIENT` and `$PEER` the server's
//! addresses, `$MEMBER` its id.

/// A sequence of commands on one fresh server.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) cases: &'static [Case],
}

/// One command.
pub(crate) struct Case {
    line: &'static str,
    pub(crate) stdin: &'static str,
    pub(crate) until: Option<&'static str>,
    pub(crate) form: Form,
    /// A mistake in the command line, which every client explains in its own words.
    pub(crate) usage: bool,
    every_form: bool,
}

/// How exactly outputs have to agree.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Exact,
    /// Numbers may differ: the output shows sizes, times or versions.
    Loose,
}

const fn run(line: &'static str) -> Case {
    Case { line, stdin: "", until: None, form: Form::Exact, usage: false, every_form: false }
}

impl Case {
    /// Runs it once in each output format that etcdctl has for people and scripts.
    const fn forms_all(mut self) -> Self {
        self.every_form = true;
        self
    }

    const fn stdin(mut self, text: &'static str) -> Self {
        self.stdin = text;
        self
    }

    /// Kills the command once it has printed `text`.
    const fn until(mut self, text: &'static str) -> Self {
        self.until = Some(text);
        self
    }

    const fn usage(mut self) -> Self {
        self.usage = true;
        self
    }

    const fn loose(mut self) -> Self {
        self.form = Form::Loose;
        self
    }

    pub(crate) fn forms(&self) -> Vec<Option<&'static str>> {
        if self.every_form {
            return vec![Some("simple"), Some("json"), Some("fields"), Some("table")];
        }
        vec![None]
    }

    /// The line in words; single quotes hold a word with spaces, or an empty one.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for (at, part) in self.line.split('\'').enumerate() {
            if at % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }
}

pub(crate) const SCRIPTS: &[Script] = &[
    Script { name: "keys", cases: KEYS },
    Script { name: "transactions", cases: TRANSACTIONS },
    Script { name: "watches", cases: WATCHES },
    Script { name: "leases", cases: LEASES },
    Script { name: "maintenance", cases: MAINTENANCE },
    Script { name: "auth", cases: AUTH },
    Script { name: "leadership", cases: LEADERSHIP },
    Script { name: "locks", cases: LOCKS },
    Script { name: "alone", cases: ALONE },
];

const KEYS: &[Case] = &[
    run("get nothing").forms_all(),
    run("put foo bar").forms_all(),
    run("put foo bar2 --prev-kv").forms_all(),
    run("put new value --prev-kv").forms_all(),
    run("put piped").stdin("from stdin\n"),
    run("put 'a key' 'a value'"),
    run("put dir/1 one"),
    run("put dir/2 two"),
    run("put dir/2 again"),
    run("put dir/3 three"),
    run("put dir0 beside"),
    run("put -- -dash --dashes"),
    run("put unicode 'schön €'"),
    run("put empty ''"),
    run("put '' value"),
    run("put"),
    run("put foo --ignore-value --prev-kv"),
    run("put nothing --ignore-value"),
    run("put foo value --ignore-value"),
    run("put foo bar --ignore-lease"),
    run("put nothing value --ignore-lease"),
    run("put foo bar --lease=123abc"),
    run("put foo bar --lease=nonsense").usage(),
    run("get foo").forms_all(),
    run("get foo --hex"),
    run("get unicode").forms_all(),
    run("get unicode --hex"),
    run("get 'a key'").forms_all(),
    run("get -- -dash"),
    run("get empty").forms_all(),
    run("get foo --print-value-only"),
    run("get foo --keys-only").forms_all(),
    run("get dir/ --prefix").forms_all(),
    run("get dir/ --prefix --limit=2").forms_all(),
    run("get dir/ --prefix --keys-only"),
    run("get dir/ --prefix=true --keys-only=1"),
    run("get dir/ --prefix=false"),
    run("get dir/ --prefix --print-value-only"),
    run("get dir/ --prefix --order=DESCEND"),
    run("get dir/ --prefix --order=ASCEND --sort-by=VALUE"),
    run("get dir/ --prefix --order=DESCEND --sort-by=VERSION"),
    run("get dir/ --prefix --sort-by=CREATE"),
    run("get dir/ --prefix --sort-by=MODIFY --order=DESCEND --limit=1"),
    run("get dir/ --prefix --sort-by=KEY"),
    run("get dir/ --prefix --sort-by=nonsense"),
    run("get dir/ --prefix --order=nonsense"),
    run("get dir/1 dir/3"),
    run("get dir/3 dir/1"),
    run("get dir/2 --from-key"),
    run("get '' --prefix"),
    run("get '' --from-key"),
    run("get dir/ --prefix --from-key"),
    run("get dir/1 dir/3 --prefix"),
    run("get foo --rev=2").forms_all(),
    run("get foo --rev=3").forms_all(),
    run("get foo --rev=1000"),
    run("get foo --consistency=s").forms_all(),
    run("get foo --consistency=l"),
    run("get foo --consistency=nonsense"),
    run("get"),
    run("get foo -w nonsense").usage(),
    run("del nothing").forms_all(),
    run("del foo --prev-kv").forms_all(),
    run("del dir/1"),
    run("del dir/ --prefix --prev-kv").forms_all(),
    run("put x 1"),
    run("put y 2"),
    run("put z 3"),
    run("del x z"),
    run("del z --from-key --prev-kv"),
    run("del z --from-key --prefix"),
    run("del a b --prefix"),
    run("del"),
    run("get '' --prefix").forms_all(),
    run("compaction 5"),
    run("compaction 5"),
    run("compaction 4"),
    run("compaction 1000"),
    run("compaction 7 --physical"),
    run("compaction nonsense").usage(),
    run("compaction"),
    run("get foo --rev=3"),
    run("get foo --rev=7"),
    run("nonsense").usage(),
    run("get foo --nonsense").usage(),
];

const TRANSACTIONS: &[Case] = &[
    run("txn").stdin("mod(\"a\") > \"0\"\n\nput a exists\n\nput a created\nput b also\n\n"),
    run("txn").stdin("mod(\"a\") > \"0\"\n\nput a exists\nget a\n\nput a created\n\n").forms_all(),
    run("txn -i").stdin("value(\"a\") = \"exists\"\n\nget a\nget b\n\ndel a\n\n").forms_all(),
    run("txn").stdin("\n\nget b --prefix\n\n\n"),
    run("txn").stdin("\nput c 1\nput d 2\nget c\n\n\n").forms_all(),
    run("txn").stdin("version(\"a\") = \"1\"\n\n\nput a version-was-not-1\n\n"),
    run("txn").stdin("create(\"a\") = \"0\"\ncreate(\"b\") > \"1\"\n\nput e both\n\nput e no\n\n"),
    run("txn").stdin("ver(\"a\") > \"1\"\nc(\"a\") > \"0\"\nval(\"a\") < \"z\"\n\nget a\n\n\n"),
    run("txn").stdin("\nput \"quoted key\" \"quoted value\"\nget \"quoted key\"\n\n\n"),
    run("txn").stdin("\ndel c\ndel d --prev-kv\n\n\n").forms_all(),
    run("txn").stdin("\nget \"\" --prefix\n\n\n").forms_all(),
    run("txn").stdin("\nput a 1\nput a 2\n\n\n"),
    run("txn").stdin("\nput a 1\ndel a\n\n\n"),
    run("txn").stdin("\nput a\n\n\n"),
    run("txn").stdin("\nnonsense a\n\n\n").usage(),
    run("txn").stdin("nonsense\n\n\n\n"),
    run("txn").stdin("mod(\"a\") > \"x\"\n\n\n\n").usage(),
    run("txn").stdin("\n\n\n").forms_all(),
    run("txn nonsense").stdin("\n\n\n").usage(),
    run("get '' --prefix -w json"),
];

const WATCHES: &[Case] = &[
    run("put w 1"),
    run("put w 2"),
    run("put w/x 3"),
    run("del w"),
    run("put w 4"),
    run("put w/y end-of-script"),
    run("watch w --rev=1").until("\n4\n"),
    run("watch w --rev=3 --prev-kv").until("\n4\n"),
    run("watch w --rev=1 --prefix").until("end-of-script\n"),
    run("watch w --rev=1 --prefix --prev-kv").until("end-of-script\n"),
    run("watch w w0 --rev=1").until("end-of-script\n"),
    run("watch '' --prefix --rev=1").until("end-of-script\n"),
    run("watch w --rev=1 -w json").until("\"value\":\"NA==\""),
    run("watch w --rev=1 --prefix -w json --prev-kv").until("\"value\":\"ZW5kLW9mLXNjcmlwdA==\""),
    run("watch w --rev=1 -w fields --prev-kv").until("\"Value\" : \"4\"\n"),
    run("watch w --rev=1 --hex").until("\\x34\n"),
    run("watch -i").stdin("watch w --rev=1\n").until("\n4\n"),
    run("watch -i").stdin("watch w --rev=1 --prev-kv --prefix\n").until("end-of-script\n"),
    run("watch -i").stdin("nonsense\n"),
    run("watch w/y --rev=1 -- echo seen").until("seen\n"),
    run("watch w/y --rev=1 -- sh -c 'exit 3'"),
    run("watch w/y --rev=1 -- nothing-of-that-name x"),
    run("watch w/y --rev=1 -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE'")
        .until("end-of-script\"\n"),
    run("compaction 5"),
    run("watch w --rev=2"),
    run("watch w --rev=2 -w json"),
    run("watch w --prefix --from-key").usage(),
    run("watch"),
];

const LEASES: &[Case] = &[
    run("lease list").forms_all(),
    run("lease grant 1000"),
    run("put leased value --lease=$LEASE"),
    run("get leased").forms_all(),
    run("lease timetolive $LEASE").loose().forms_all(),
    // One key only: etcd lists several in the order of a Go map.
    run("lease timetolive $LEASE --keys").loose().forms_all(),
    run("put leased2 value --lease=$LEASE"),
    run("lease list").forms_all(),
    run("lease keep-alive --once $LEASE").forms_all(),
    run("lease keep-alive $LEASE").until("TTL(1000)\n"),
    run("put leased2 detached"),
    run("lease timetolive $LEASE --keys").loose(),
    run("put leased2 kept --lease=$LEASE"),
    run("put leased2 changed --ignore-lease"),
    run("get leased2").forms_all(),
    run("txn").stdin("\nput --lease=$LEASE leased3 value\n\n\n"),
    run("lease revoke $LEASE").forms_all(),
    run("get leased --prefix").forms_all(),
    run("lease revoke $LEASE"),
    run("lease keep-alive --once $LEASE"),
    run("lease timetolive $LEASE"),
    run("lease timetolive $LEASE -w json"),
    run("lease timetolive $LEASE -w fields"),
    run("lease revoke 123"),
    run("lease revoke nonsense").usage(),
    run("lease revoke"),
    run("lease timetolive 123"),
    run("lease grant 0"),
    run("lease grant -- -1").usage(),
    run("lease grant 9000000001"),
    run("lease grant nonsense").usage(),
    run("lease grant"),
    run("lease grant 500").forms_all(),
    run("lease revoke $LEASE"),
];

const MAINTENANCE: &[Case] = &[
    run("put key value"),
    run("endpoint health").loose().forms_all(),
    run("endpoint status").loose().forms_all(),
    run("endpoint status --cluster").loose(),
    run("endpoint hashkv").loose().forms_all(),
    run("endpoint hashkv --rev=2").loose(),
    run("endpoint hashkv --rev=1000").loose(),
    // Not in `fields`, where etcdctl 3.4 crashes on etcd's answer, which has no header.
    run("alarm list"),
    run("alarm list -w table"),
    run("alarm disarm"),
    run("defrag"),
    run("member list").forms_all(),
    run("snapshot save $FILE"),
    run("snapshot save"),
    run("get key"),
];

const AUTH: &[Case] = &[
    run("auth enable"),
    run("user list").forms_all(),
    run("role list").forms_all(),
    run("user add root:secret"),
    run("user add root:secret"),
    run("user add alice --interactive=false").stdin("wonder\n"),
    run("user add bob --no-password"),
    run("user add carol --new-user-password=sing"),
    run("user add"),
    run("user list").forms_all(),
    run("role add root"),
    run("role add reader"),
    run("role add writer"),
    run("role add reader"),
    run("role add"),
    run("role list").forms_all(),
    run("role grant-permission reader read key"),
    run("role grant-permission reader read dir/ --prefix"),
    run("role grant-permission writer readwrite a z"),
    run("role grant-permission writer write z --from-key"),
    run("role grant-permission nothing read key"),
    run("role grant-permission reader nonsense key"),
    run("role grant-permission reader"),
    run("role get reader").forms_all(),
    run("role get writer").forms_all(),
    run("role get root"),
    run("role get nothing"),
    run("user grant-role root root"),
    run("user grant-role alice reader"),
    run("user grant-role alice writer"),
    run("user grant-role alice reader"),
    run("user grant-role alice nothing"),
    run("user grant-role nobody reader"),
    run("user get alice").forms_all(),
    run("user get alice --detail"),
    run("user get nobody"),
    run("user revoke-role alice nothing"),
    run("user revoke-role carol reader"),
    run("user passwd alice --interactive=false").stdin("changed\n"),
    run("user passwd nobody --interactive=false").stdin("changed\n"),
    run("put key value"),
    run("put other value"),
    run("auth enable"),
    run("get key"),
    run("get key --user=root:secret"),
    run("get key --user=root --password=secret"),
    run("get key --user=root:wrong"),
    run("get key --user=nobody:secret"),
    run("get key --user=alice:changed").forms_all(),
    run("get key --user=alice:wonder"),
    run("get key --user=carol:sing"),
    run("get '' --prefix --user=alice:changed"),
    run("get dir/ --prefix --user=alice:changed"),
    run("put middle value --user=alice:changed"),
    run("put middle value --user=carol:sing"),
    run("put zz value --user=alice:changed"),
    run("get zz --user=alice:changed"),
    run("put zz value --prev-kv --user=alice:changed"),
    run("del middle --user=alice:changed"),
    run("txn --user=alice:changed").stdin("\nput b 1\nget zz\n\n\n"),
    run("txn --user=alice:changed").stdin("\nput b 1\nget b\n\n\n"),
    run("watch key --rev=2 --user=alice:changed").until("value\n"),
    run("watch key --user=carol:sing"),
    run("user list --user=alice:changed"),
    run("user get alice --user=alice:changed"),
    run("role get reader --user=alice:changed"),
    run("role list --user=alice:changed"),
    run("user add dave:x --user=alice:changed"),
    run("member list --user=root:secret"),
    run("user delete root --user=root:secret"),
    run("user revoke-role root root --user=root:secret"),
    run("role revoke-permission reader key --user=root:secret"),
    run("role revoke-permission reader key --user=root:secret"),
    run("role revoke-permission reader dir/ --prefix --user=root:secret"),
    run("role get reader --user=root:secret"),
    run("user revoke-role alice reader --user=root:secret"),
    run("user delete carol --user=root:secret"),
    run("user delete carol --user=root:secret"),
    run("role delete reader --user=root:secret"),
    run("role delete reader --user=root:secret"),
    run("role delete root --user=root:secret"),
    run("auth disable"),
    run("auth disable --user=alice:changed"),
    run("auth disable --user=root:secret"),
    run("auth disable"),
    run("get key"),
    run("user list").forms_all(),
    run("role list").forms_all(),
];

const LEADERSHIP: &[Case] = &[
    run("move-leader $MEMBER").forms_all(),
    run("move-leader 1"),
    run("move-leader 1 -w fields"),
    run("move-leader"),
    run("move-leader 1 2"),
    run("move-leader xyz"),
    run("move-leader ''"),
    run("move-leader +1"),
    run("move-leader 0x1"),
    run("move-leader 'a\"b'"),
    run("move-leader 11111111111111111"),
    run("member remove 1").forms_all(),
    run("member remove"),
    run("member remove 1 2"),
    run("member remove xyz"),
    run("member remove 11111111111111111"),
    run("member promote 1"),
    run("member promote $MEMBER"),
    run("member promote"),
    run("member promote xyz"),
    run("member update $MEMBER --peer-urls=http://$PEER").forms_all(),
    run("member update $MEMBER"),
    run("member update $MEMBER --peer-urls="),
    run("member update $MEMBER --peer-urls=nonsense"),
    run("member update 1 --peer-urls=http://127.0.0.1:1"),
    run("member update 1"),
    run("member update xyz"),
    run("member update --peer-urls=http://127.0.0.1:1"),
    run("member add"),
    run("member add new"),
    run("member add new other --peer-urls=http://127.0.0.1:1"),
    run("member add new --peer-urls=nonsense"),
    run("member add new --peer-urls=ftp://127.0.0.1:1"),
    run("member add new --peer-urls=http://127.0.0.1"),
    run("member add new --peer-urls=http://127.0.0.1:1/path"),
    run("member add new --peer-urls=http://$PEER"),
    // In no other form: the members are told in the order of ids that are made anew each time.
    run("member add new --peer-urls=http://127.0.0.1:1 --learner -w fields"),
    run("member add newer --peer-urls=http://127.0.0.1:2 --learner"),
];

// A name for each: who is killed leaves its key until its lease ends.
const LOCKS: &[Case] = &[
    run("lock name echo held"),
    run("lock name --ttl=20 echo held"),
    run("lock name echo held --ttl=20"),
    run("lock name --ttl=0 echo held"),
    run("lock name --ttl=-1 echo held"),
    run("lock name --ttl=x echo held").usage(),
    run("lock name sh -c 'exit 3'").usage(),
    run("lock name --ttl=20 -- sh -c 'exit 3'"),
    run("lock name -- sh -c 'echo $ETCD_LOCK_KEY $ETCD_LOCK_REV'"),
    run("lock name -- sh -c 'kill -9 $$'"),
    run("lock name -- sh -c 'kill -TERM $$'"),
    run("lock name nothing-of-that-name"),
    run("lock name /nothing/there"),
    run("lock name /etc/passwd"),
    run("lock '' echo held"),
    run("get name --prefix -w fields"),
    run("lock held").until("\n\n"),
    run("lock fields -w fields").until("\"Count\" : 1\n"),
    run("elect house value").until("value\n"),
    run("elect -l house").until("value\n"),
    run("elect house2 value -w fields").until("\"Count\" : 1\n"),
    run("elect -l house2 -w fields").until("\"Count\" : 0\n"),
    // etcdctl leaves its key then.
    run("lock table -w table"),
    run("elect"),
    run("elect house"),
    run("elect house value more"),
    run("elect -l house value"),
    run("elect house value --nonsense").usage(),
    run("lock"),
];

/// What no server is needed for.
const ALONE: &[Case] = &[
    run("version").loose(),
    run("version -w json").loose(),
    run("version --endpoints=127.0.0.1:1 --user=root:x").loose(),
    run("version --nonsense").usage(),
    // What is done with files: `--test backup`.
    run("snapshot status"),
    run("snapshot status $FILE $FILE"),
    run("snapshot status $FILE-not").usage(),
    run("snapshot restore").usage(),
    run("snapshot restore $FILE $FILE").usage(),
    run("snapshot restore $FILE-not --data-dir=$FILE-restored").usage(),
    run("snapshot restore $FILE --data-dir=$FILE-restored --initial-cluster=nonsense").usage(),
];
