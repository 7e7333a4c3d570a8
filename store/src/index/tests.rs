//! The tree against a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Builder, History, Index};
use crate::key_range::KeyRange;
use crate::{Entry, Revision};

type Model = BTreeMap<Vec<u8>, History>;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    Delete(Vec<u8>),
    /// Compact at this share of the revision, so many keys at a time.
    Compact(u8, usize),
    Rebuild,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few enough keys that they meet, enough of them for several levels.
    (0u16..1500).prop_map(|number| format!("k{number:o}").into_bytes())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => key().prop_map(Step::Put),
        20 => key().prop_map(Step::Delete),
        1 => (any::<u8>(), 1usize..300).prop_map(|(at, keys)| Step::Compact(at, keys)),
        1 => Just(Step::Rebuild),
    ]
}

fn entry(main: i64, tombstone: bool) -> Entry {
    Entry {
        revision: Revision::new(main, 0),
        tombstone,
        create_revision: i64::from(!tombstone),
        version: i64::from(!tombstone),
        lease: 0,
        value_len: 0,
    }
}

fn write(index: &mut Index, model: &mut Model, key: &[u8], entry: Entry) {
    index.push(key, |_| entry);
    model.entry(key.to_vec()).or_default().push(entry);
}

fn compact(index: &mut Index, model: &mut Model, revision: i64, keys_max: usize) {
    let mut removed = Vec::new();
    let mut next = Some(Box::<[u8]>::default());
    while let Some(from) = next {
        next = index.compact(&from, revision, keys_max, &mut |key, entry| {
            removed.push((key.to_vec(), entry));
        });
        assert!(next.as_ref().is_none_or(|next| *next > from), "every step gets on");
    }
    let mut expected = Vec::new();
    for (key, history) in model.iter_mut() {
        history.compact(revision, |entry| expected.push((key.clone(), entry)));
    }
    model.retain(|_, history| history.len() > 0);
    assert_eq!(removed, expected);
}

fn rebuild(index: &Index) -> Index {
    let mut builder = Builder::default();
    for (key, history) in index.checked() {
        builder.push(key, history);
    }
    builder.finish()
}

fn run(steps: &[Step]) -> (Index, Model) {
    let (mut index, mut model) = (Index::default(), Model::new());
    for (main, step) in (2..).zip(steps) {
        match step {
            Step::Put(key) => write(&mut index, &mut model, key, entry(main, false)),
            Step::Delete(key) => {
                if index.get(key).is_some_and(History::is_live) {
                    write(&mut index, &mut model, key, entry(main, true));
                }
            }
            Step::Compact(share, keys_max) => {
                compact(&mut index, &mut model, main * i64::from(*share) / 256, *keys_max);
            }
            Step::Rebuild => index = rebuild(&index),
        }
    }
    (index, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_holds_what_a_btreemap_holds(
        steps in vec(step(), 0..4000),
        ranges in vec((key(), key()), 20),
    ) {
        // Content, counts, lookups and ranges equal the model's, and the tree's invariants hold.
        let (index, model) = run(&steps);
        let content: Model = index.checked().into_iter().map(|(k, h)| (k.into(), h)).collect();
        prop_assert_eq!(&content, &model);
        prop_assert_eq!(index.versions(), model.values().map(History::len).sum::<usize>());
        for (from, to) in &ranges {
            prop_assert_eq!(index.get(from), model.get(from));
            for range in [KeyRange::new(from, to), KeyRange::new(from, b"\0"), KeyRange::new(to, b"")] {
                let expected = model.iter().filter(|(key, _)| range.contains(key));
                let live = expected.clone().filter(|(_, history)| history.is_live()).count();
                prop_assert_eq!(index.count(&range), live);
                let mut visited = Vec::new();
                index.visit(&range, |key, _| {
                    visited.push(key.to_vec());
                    ControlFlow::Continue(())
                });
                let keys: Vec<_> = expected.map(|(key, _)| key.clone()).collect();
                prop_assert_eq!(visited, keys);
            }
        }
    }
}

#[test]
fn ascending_keys_fill_their_leaves() {
    // A store filled in key order must not pay for half-empty leaves.
    let mut index = Index::default();
    for number in 0..64 * 64u32 {
        index.push(format!("{number:08}").as_bytes(), |_| entry(2, false));
    }
    assert_eq!(index.checked().len(), 64 * 64);
    assert_eq!(index.leaves(), 64);
}

#[test]
fn compaction_leaves_no_crumbs() {
    // After nearly everything is deleted and compacted, few leaves are left.
    let mut index = Index::default();
    for number in 0..5000u32 {
        index.push(format!("{number:08}").as_bytes(), |_| entry(2, false));
    }
    for number in (0..5000u32).filter(|number| number % 100 != 0) {
        index.push(format!("{number:08}").as_bytes(), |_| entry(3, true));
    }
    let mut model: Model = index.checked().into_iter().map(|(k, h)| (k.into(), h)).collect();
    compact(&mut index, &mut model, 4, 64);
    assert_eq!(index.checked().len(), 50);
    assert!(index.leaves() <= 4, "{} leaves", index.leaves());
}
