use std::collections::BTreeMap;
use std::io::{self, Cursor};

use proptest::prelude::*;

use super::*;

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

fn written(buckets: &BTreeMap<Vec<u8>, Keys>, page_bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new(Cursor::new(Vec::new()), page_bytes).unwrap();
    for (name, keys) in buckets.iter().rev() {
        let mut tree = builder.bucket(name);
        for (key, value) in keys {
            tree.put(key, value).unwrap();
        }
        tree.finish().unwrap();
    }
    builder.finish().unwrap().into_inner()
}

fn read(bytes: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Keys>> {
    let db = Db::open(bytes, bytes.len() as u64)?;
    let mut found = BTreeMap::new();
    let mut buckets = Vec::new();
    db.buckets(|name, bucket| {
        buckets.push((name.to_vec(), bucket));
        Ok(())
    })?;
    for (name, bucket) in buckets {
        let mut keys = Keys::new();
        db.each(&bucket, |key, value| {
            keys.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
        found.insert(name, keys);
    }
    Ok(found)
}

/// Some buckets: one empty, one of several levels, one with values of several pages.
fn sample() -> BTreeMap<Vec<u8>, Keys> {
    let many = (0..3_000_u32).map(|n| (n.to_be_bytes().to_vec(), vec![1; n as usize % 50]));
    let large = (0..5_u8).map(|n| (vec![n + 1], vec![n; 3_000 * usize::from(n)]));
    BTreeMap::from([
        (b"empty".to_vec(), Keys::new()),
        (b"large".to_vec(), large.collect()),
        (b"many".to_vec(), many.collect()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        buckets in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..20),
            prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 1..40),
                prop::collection::vec(any::<u8>(), 0..900),
                0..60,
            ),
            0..6,
        ),
        page_bytes in prop::sample::select(vec![512_usize, 1024, 4096]),
    ) {
        // Proves that the reader finds in any database exactly what the writer was given.
        let bytes = written(&buckets, page_bytes);
        prop_assert_eq!(bytes.len() % page_bytes, 0);
        prop_assert_eq!(read(&bytes).unwrap(), buckets);
    }

    #[test]
    fn damage_is_refused_or_read_and_never_more(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        len in any::<prop::sample::Index>(),
    ) {
        // Proves that a changed byte anywhere, or a missing end, never makes the reader panic or
        // go on for ever, and that it reads nothing from a file that is cut short.
        let bytes = written(&sample(), 512);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = to;
        let _ = read(&changed);
        prop_assert!(read(&bytes[..len.index(bytes.len())]).is_err());
    }
}

#[test]
fn several_levels_are_written_and_read() {
    // Proves branches above branches, values of many pages and empty buckets, in pages of any size.
    for page_bytes in [512, 4096, 65_536] {
        assert_eq!(read(&written(&sample(), page_bytes)).unwrap(), sample());
    }
}

#[test]
fn the_newer_valid_meta_page_counts() {
    // Proves that either meta page alone is enough, and that without both there is no database.
    let bytes = written(&sample(), 512);
    let without = |pages: &[usize]| {
        let mut bytes = bytes.clone();
        pages.iter().for_each(|page| bytes[page * 512 + 20] ^= 1);
        read(&bytes)
    };
    assert_eq!(without(&[0]).unwrap(), sample());
    assert_eq!(without(&[1]).unwrap(), sample());
    assert!(without(&[0, 1]).unwrap_err().to_string().contains("no valid meta page"));
}

#[test]
fn keys_out_of_order_are_refused() {
    // Proves that the writer makes no database that bbolt would misread.
    let mut builder = Builder::new(Cursor::new(Vec::new()), 512).unwrap();
    let mut tree = builder.bucket(b"b");
    tree.put(b"k", b"").unwrap();
    for key in [&b"k"[..], b"a", b""] {
        assert_eq!(tree.put(key, b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn the_fuzzers_corpus_is_answered() {
    // Proves that each file of the corpus is read or refused, and that some of them are read.
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/bolt_read");
    let read_well = std::fs::read_dir(corpus).unwrap().filter(|file| {
        let bytes = std::fs::read(file.as_ref().unwrap().path()).unwrap();
        read(&bytes).is_ok()
    });
    assert!(read_well.count() > 0);
}
