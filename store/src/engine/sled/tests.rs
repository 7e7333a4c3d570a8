use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const CACHE_BYTES: usize = 1 << 16;

fn batch(first: u32, count: u32, fill: u8) -> Batch {
    let mut batch = Batch::default();
    for key in first..first + count {
        batch.put(key.to_be_bytes().to_vec(), vec![fill; 300]);
    }
    batch
}

fn count(engine: &SledEngine) -> usize {
    let mut found = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        found += 1;
        ControlFlow::Continue(())
    };
    engine.scan(&[], &[0xff; 5], &mut visit).unwrap();
    found
}

/// The database is closed and opened again as writes add up, and neither readers nor writers
/// notice.
#[test]
fn recycling_goes_unnoticed() {
    const RECYCLE_BYTES: u64 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let engine = SledEngine::open_recycling(path.clone(), CACHE_BYTES, RECYCLE_BYTES).unwrap();
    engine.apply(batch(0, 500, 1)).unwrap();
    let done = AtomicBool::new(false);
    let mut reopened = 0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(engine.get(&7_u32.to_be_bytes()).unwrap().unwrap(), vec![1; 300]);
                    assert!(count(&engine) >= 500);
                }
            });
        }
        for round in 0..50 {
            let before = engine.written.lock().since_open;
            engine.apply(batch(500 + round * 100, 100, 2)).unwrap();
            reopened += usize::from(engine.written.lock().since_open < before);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(reopened >= 5, "reopened {reopened} times");
    assert_eq!(count(&engine), 5500);
    drop(engine);
    assert_eq!(count(&SledEngine::open(path, CACHE_BYTES).unwrap()), 5500);
}

/// What was written reaches the disk long before the database is closed, so that no sync has much to
/// write at once.
#[test]
fn much_is_not_left_for_one_sync() {
    const VALUE_BYTES: usize = 4 << 10;
    const KEYS: u64 = 3 * SYNC_BYTES / 2 / VALUE_BYTES as u64;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let engine = SledEngine::open_recycling(path.clone(), CACHE_BYTES, u64::MAX).unwrap();
    let mut state = 1_u64;
    let empty = engine.size_bytes().unwrap();
    for key in 0..KEYS {
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let value: Vec<u8> = noise.take(VALUE_BYTES / 8).flatten().collect();
        let mut batch = Batch::default();
        batch.put(key.to_be_bytes().to_vec(), value);
        engine.apply(batch).unwrap();
    }
    let written = engine.size_bytes().unwrap() - empty;
    assert!(written >= SYNC_BYTES, "{written}");
}

/// What sled cannot read back is an error, every later call fails too, dropping the engine takes
/// nobody down, and clearing it spares the next start what broke it.
#[test]
fn a_broken_engine_stays_broken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let engine = SledEngine::open(&path, CACHE_BYTES).unwrap();
    engine.apply(batch(0, 2000, 1)).unwrap();
    drop(engine);
    let engine = SledEngine::open(&path, CACHE_BYTES).unwrap();
    for slab in std::fs::read_dir(path.join("slabs")).unwrap() {
        let slab = slab.unwrap().path();
        let bytes = std::fs::read(&slab).unwrap();
        std::fs::write(&slab, vec![0x5a; bytes.len()]).unwrap();
    }
    assert!(engine.get(&7_u32.to_be_bytes()).is_err());
    assert!(engine.get(&7_u32.to_be_bytes()).is_err());
    assert!(engine.apply(batch(0, 1, 2)).is_err());
    assert!(engine.flush().is_err());
    engine.clear().unwrap();
    assert!(engine.get(&7_u32.to_be_bytes()).is_err());
    drop(engine);
    assert_eq!(count(&SledEngine::open(path, CACHE_BYTES).unwrap()), 0);
}

/// No leaf grows beyond the bound that `LEAF_ENTRIES_MAX` promises, however long the values: so a
/// read of one key costs no more than that.
#[test]
fn long_values_are_cut() {
    const VALUE_BYTES: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(dir.path().join("engine"), CACHE_BYTES).unwrap();
    for key in 0..20_u8 {
        let mut batch = Batch::default();
        batch.put(vec![key], vec![key; VALUE_BYTES]);
        engine.apply(batch).unwrap();
    }
    let longest = engine
        .with_tree(|tree| {
            let mut lengths = tree.iter().map(|entry| entry.map(|(_, value)| value.len()));
            lengths.try_fold(0, |longest, len| len.map(|len| longest.max(len)))
        })
        .unwrap();
    assert_eq!(longest, values::INLINE_BYTES_MAX);
    assert_eq!(count(&engine), 20);
}
