//! The tree against a plain model, with crashes, flushes, snapshots and restores in between, beside
//! writes of the v3 API; and what no random run finds.

mod cases;
mod driver;
mod model;

use api::berthpb::command::Op;
use api::berthpb::v2_write::Action as Asked;
use api::berthpb::{Command, V2Write};
use proptest::prelude::*;

use self::driver::{Driver, Step};
use crate::engine::SledEngine;

const CACHE_BYTES: usize = 1 << 20;

fn command(op: Op) -> Command {
    Command { op: Some(op), ..Command::default() }
}

fn write(action: Asked, path: &str, value: &str) -> V2Write {
    V2Write {
        action: action.into(),
        path: path.to_owned().into(),
        value: value.to_owned().into(),
        ..V2Write::default()
    }
}

const ACTIONS: [Asked; 8] = [
    Asked::Unknown,
    Asked::Set,
    Asked::Create,
    Asked::CreateInOrder,
    Asked::Update,
    Asked::CompareAndSwap,
    Asked::Delete,
    Asked::CompareAndDelete,
];

/// Few paths and values, so that they meet.
fn writes() -> impl Strategy<Value = V2Write> {
    let paths = prop::sample::select(vec!["/", "/a", "/a/b", "/a/b/c", "/_h", "/a/_h", "/a-b"]);
    let action = prop::sample::select(ACTIONS.to_vec());
    let values = || prop::sample::select(vec!["", "x", "y"]);
    let deadline = prop::option::weighted(0.3, -1i64..30);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    (action, paths, values(), values(), flags, 0u64..12, deadline).prop_map(
        |(action, path, value, prev, (dir, recursive, refresh), index, deadline)| V2Write {
            dir,
            recursive,
            refresh,
            prev_value: prev.into(),
            prev_index: index / 3,
            now_ns: driver::now_ns(0),
            deadline_ns: deadline.map(driver::now_ns),
            ..write(action, path, value)
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => writes().prop_map(Step::Write),
        2 => (0i64..30, 0u32..4).prop_map(|(now, count)| Step::Expire(now, count)),
        2 => Just(Step::Put),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
        1 => Just(Step::SnapshotRestore),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(mut driver: Driver, steps: &[Step]) {
    for step in steps {
        driver.step(step);
    }
    driver.compare();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn on_sled_as_well(steps in steps()) {
        // The same on the engine that servers use.
        let dir = tempfile::tempdir().unwrap();
        let engine = SledEngine::open(dir.path().join("engine"), CACHE_BYTES).unwrap();
        run(Driver::on(std::sync::Arc::new(engine)), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tree_does_what_the_model_does(steps in steps()) {
        // Whatever happens to engine and process, answers, tree, history and deadlines are the
        // model's, and the keys of the v3 API know nothing of it.
        run(Driver::new(), &steps);
    }
}
