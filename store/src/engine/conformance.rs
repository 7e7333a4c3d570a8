//! What every engine must do, run on each of them.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{Batch, CrashEngine, Engine, MemEngine, SledEngine};

const CACHE_BYTES: usize = 1 << 20;
const LARGE_VALUE_BYTES: usize = 3 << 19;

/// Keys after which a scan over everything ends.
const END: &[u8] = &[0xff; 8];

macro_rules! conformance {
    ($($name:ident,)*) => {
        mod mem {
            $(#[test] fn $name() { super::$name(&super::MemEngine::new()); })*
        }
        mod crash {
            $(#[test] fn $name() { super::$name(&super::CrashEngine::new()); })*
        }
        mod sled {
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&super::open(dir.path()));
            })*
        }
    };
}

conformance! {
    get_put_delete_overwrite,
    later_operation_of_a_batch_wins,
    batch_is_atomic_for_readers,
    scan_honours_bounds_and_order,
    scan_stops_early,
    scan_crosses_many_slices,
    scan_visitor_may_use_the_engine,
    clear_removes_everything,
    empty_keys_and_values,
    values_of_every_size,
    long_value_is_never_torn,
    readers_run_while_a_writer_writes,
    agrees_with_a_plain_map,
}

fn open(path: &Path) -> SledEngine {
    SledEngine::open(path.join("engine"), CACHE_BYTES).unwrap()
}

fn put(engine: &dyn Engine, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key.to_vec(), value.to_vec());
    engine.apply(batch).unwrap();
}

fn delete(engine: &dyn Engine, key: &[u8]) {
    let mut batch = Batch::default();
    batch.delete(key.to_vec());
    engine.apply(batch).unwrap();
}

fn scan(engine: &dyn Engine, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.scan(from, to, &mut visit).unwrap();
    found
}

fn keys(engine: &dyn Engine, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
    scan(engine, from, to).into_iter().map(|(key, _)| key).collect()
}

/// A value that differs in every piece, so that a mixed-up one is noticed.
fn patterned(len: usize, seed: u8) -> Vec<u8> {
    (0..=250).cycle().zip((seed..=u8::MAX).cycle()).map(|(a, b)| a ^ b).take(len).collect()
}

/// Single operations do what their names say, and deleting what is absent is no error.
fn get_put_delete_overwrite(engine: &dyn Engine) {
    assert_eq!(engine.get(b"k").unwrap(), None);
    put(engine, b"k", b"one");
    assert_eq!(engine.get(b"k").unwrap().unwrap(), "one");
    put(engine, b"k", b"two");
    assert_eq!(engine.get(b"k").unwrap().unwrap(), "two");
    delete(engine, b"k");
    assert_eq!(engine.get(b"k").unwrap(), None);
    delete(engine, b"k");
    assert_eq!(engine.get(b"k").unwrap(), None);
    engine.apply(Batch::default()).unwrap();
}

/// Of several operations on one key in a batch the last one counts.
fn later_operation_of_a_batch_wins(engine: &dyn Engine) {
    let mut batch = Batch::default();
    batch.put("gone", patterned(LARGE_VALUE_BYTES, 0));
    batch.delete("gone");
    batch.delete("kept");
    batch.put("kept", patterned(LARGE_VALUE_BYTES, 1));
    batch.put("kept", "short");
    engine.apply(batch).unwrap();
    assert_eq!(scan(engine, b"", END), [(b"kept".to_vec(), b"short".to_vec())]);
}

/// Whoever sees one change of a batch sees all of it.
fn batch_is_atomic_for_readers(engine: &dyn Engine) {
    const KEYS: u32 = 600;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u32..100 {
                let mut batch = Batch::default();
                for key in 0..KEYS {
                    batch.put(key.to_be_bytes().to_vec(), round.to_be_bytes().to_vec());
                }
                engine.apply(batch).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            // Written together: what is read later is at least as new.
            let first = engine.get(&0_u32.to_be_bytes()).unwrap();
            let last = engine.get(&(KEYS - 1).to_be_bytes()).unwrap();
            assert!(first <= last, "{first:?} was there before {last:?}");
        }
    });
}

/// The lower bound belongs to a scan, the upper does not, and keys come in byte order.
fn scan_honours_bounds_and_order(engine: &dyn Engine) {
    for key in [&b"b"[..], b"a", b"ab", b"c", b"a\0", b"\xfe", b"b\xff"] {
        put(engine, key, key);
    }
    let all: [&[u8]; 7] = [b"a", b"a\0", b"ab", b"b", b"b\xff", b"c", b"\xfe"];
    assert_eq!(keys(engine, b"", END), all);
    assert_eq!(keys(engine, b"a\0", b"c"), all[1..5]);
    assert_eq!(keys(engine, b"aa", b"b\xff\xff"), all[2..5]);
    assert!(keys(engine, b"b", b"b").is_empty());
    assert!(keys(engine, b"c", b"a").is_empty());
    assert!(keys(engine, b"d", b"e").is_empty());
    assert!(keys(engine, b"", b"").is_empty());
}

/// A visitor that breaks is not called again.
fn scan_stops_early(engine: &dyn Engine) {
    fill(engine, 2000);
    let mut visits = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        visits += 1;
        if visits == 1500 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    engine.scan(b"", END, &mut visit).unwrap();
    assert_eq!(visits, 1500);
}

fn fill(engine: &dyn Engine, count: u32) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let mut batch = Batch::default();
        for key in chunk {
            batch.put(key.to_be_bytes().to_vec(), patterned(100, 7));
        }
        engine.apply(batch).unwrap();
    }
}

/// A scan longer than any slice visits every key once, in order.
fn scan_crosses_many_slices(engine: &dyn Engine) {
    fill(engine, 5000);
    let expected: Vec<_> = (0..5000_u32).map(|key| key.to_be_bytes().to_vec()).collect();
    assert_eq!(keys(engine, b"", END), expected);
    assert_eq!(
        keys(engine, &1023_u32.to_be_bytes(), &4097_u32.to_be_bytes()),
        expected[1023..4097]
    );
}

/// No lock is held while a visitor runs: it may read and write.
fn scan_visitor_may_use_the_engine(engine: &dyn Engine) {
    fill(engine, 1200);
    let mut visit = |key: &[u8], _: &[u8]| {
        assert!(engine.get(key).unwrap().is_some());
        delete(engine, key);
        ControlFlow::Continue(())
    };
    engine.scan(b"", END, &mut visit).unwrap();
    assert!(keys(engine, b"", END).is_empty());
}

/// After `clear` nothing is found and the engine is as good as new.
fn clear_removes_everything(engine: &dyn Engine) {
    fill(engine, 1000);
    put(engine, b"long", &patterned(LARGE_VALUE_BYTES, 3));
    engine.clear().unwrap();
    assert!(keys(engine, b"", END).is_empty());
    assert_eq!(engine.get(&1_u32.to_be_bytes()).unwrap(), None);
    put(engine, b"k", b"v");
    engine.flush().unwrap();
    assert_eq!(keys(engine, b"", END), [b"k"]);
}

/// A key or a value of no bytes is as good as any.
fn empty_keys_and_values(engine: &dyn Engine) {
    put(engine, b"", b"of nothing");
    put(engine, b"k", b"");
    assert_eq!(engine.get(b"").unwrap().unwrap(), "of nothing");
    assert_eq!(engine.get(b"k").unwrap().unwrap(), "");
    assert_eq!(keys(engine, b"", END), [&b""[..], b"k"]);
    delete(engine, b"");
    assert_eq!(keys(engine, b"", END), [b"k"]);
}

/// Values up to 1.5 MiB come back as they were, also when long and short replace each other.
fn values_of_every_size(engine: &dyn Engine) {
    let sizes = [LARGE_VALUE_BYTES, 0, 16384, 16385, 1, 32768, 32769, 7, LARGE_VALUE_BYTES, 40000];
    for (round, size) in (0_u8..).zip(sizes) {
        let value = patterned(size, round);
        put(engine, b"k", &value);
        assert!(engine.get(b"k").unwrap().unwrap() == value, "{size} bytes");
        assert!(scan(engine, b"", END) == [(b"k".to_vec(), value)], "{size} bytes");
    }
    delete(engine, b"k");
    assert!(scan(engine, b"", END).is_empty());
}

/// A reader of a long value that is being replaced gets the old or the new one, never a mixture.
fn long_value_is_never_torn(engine: &dyn Engine) {
    let values: Vec<_> = [50_000, 200_000, 10, 120_000]
        .into_iter()
        .zip(0_u8..)
        .map(|(len, seed)| Bytes::from(patterned(len, seed)))
        .collect();
    put(engine, b"k", &values[0]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in values.iter().cycle().take(200) {
                put(engine, b"k", value);
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let found = engine.get(b"k").unwrap().unwrap();
            assert!(values.contains(&found), "a value of {} bytes that nobody wrote", found.len());
        }
    });
}

/// Readers and scans neither block nor are blocked for ever, and miss nothing that stays.
fn readers_run_while_a_writer_writes(engine: &dyn Engine) {
    fill(engine, 3000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Comes and goes after the keys that stay.
            for round in 0..60_u32 {
                let mut batch = Batch::default();
                for key in 0..100_u32 {
                    let key = [b"x", &key.to_be_bytes()[..]].concat();
                    if round % 2 == 0 {
                        batch.put(key, patterned(300, 5));
                    } else {
                        batch.delete(key);
                    }
                }
                engine.apply(batch).unwrap();
                engine.flush().unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(keys(engine, b"", b"x").len(), 3000);
                }
            });
        }
    });
    assert!(keys(engine, b"x", END).is_empty());
}

/// Any sequence of operations leaves the engine equal to a map that had the same.
fn agrees_with_a_plain_map(engine: &dyn Engine) {
    let mut model = std::collections::BTreeMap::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in (0..=u8::MAX).cycle().take(300) {
        let mut batch = Batch::default();
        for _ in 0..random(40) {
            let key = random(2000).to_string().into_bytes();
            if random(3) == 0 {
                model.remove(&key);
                batch.delete(key);
            } else {
                let len = if random(200) == 0 { 70_000 } else { random(400) };
                let value = patterned(len, round);
                model.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
        }
        engine.apply(batch).unwrap();
        if random(10) == 0 {
            engine.flush().unwrap();
        }
    }
    assert!(scan(engine, b"", END).into_iter().eq(model));
}

/// What was flushed is there after the engine was closed and opened again.
#[test]
fn sled_keeps_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    fill(&engine, 3000);
    put(&engine, b"long", &patterned(LARGE_VALUE_BYTES, 9));
    delete(&engine, &7_u32.to_be_bytes());
    engine.flush().unwrap();
    assert!(engine.size_bytes().unwrap() > 0);
    let before = scan(&engine, b"", END);
    drop(engine);
    assert!(scan(&open(dir.path()), b"", END) == before);
}

/// The directory belongs to one process: a second opening is refused with an error.
#[test]
fn sled_refuses_a_locked_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _held = open(dir.path());
    assert!(SledEngine::open(dir.path().join("engine"), CACHE_BYTES).is_err());
}

/// A `clear` that a crash cut in half is finished by the next opening.
#[test]
fn sled_finishes_an_interrupted_clear() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    fill(&engine, 100);
    drop(engine);
    std::fs::rename(dir.path().join("engine"), dir.path().join("engine.discarded")).unwrap();
    let engine = open(dir.path());
    assert!(keys(&engine, b"", END).is_empty());
    assert!(!dir.path().join("engine.discarded").exists());
}

/// Damage in any file is an error, or brings back an older state whole (a damaged end of sled's
/// log looks torn), and never takes the process down.
#[test]
fn sled_survives_damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    fill(&engine, 2000);
    engine.flush().unwrap();
    let intact = scan(&engine, b"", END);
    drop(engine);
    let mut refused = 0;
    for (number, file) in files(&dir.path().join("engine")).into_iter().enumerate() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("engine"), &copy.path().join("engine")).unwrap();
        let file = copy.path().join("engine").join(file);
        let mut bytes = std::fs::read(&file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        for at in (number % 7..bytes.len()).step_by(97) {
            bytes[at] ^= 0x55;
        }
        std::fs::write(&file, bytes).unwrap();
        match read_all(copy.path()) {
            Ok(found) => assert!(found.is_empty() || found == intact, "{}", file.display()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no damage was noticed");
}

fn read_all(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let engine = SledEngine::open(path.join("engine"), CACHE_BYTES)?;
    let mut found = Vec::new();
    engine.scan(b"", END, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// An engine behind a pointer is as good as one by value, as the state machine holds it.
#[test]
fn engines_are_objects() {
    let engine: Arc<dyn Engine> = Arc::new(MemEngine::new());
    put(&*engine, b"k", b"v");
    assert_eq!(engine.size_bytes().unwrap(), 2);
}
