//! A store whose engine was given to another state while it was still being read.

use super::*;
use crate::{Reader, Snapshot};

/// So many that their values are read together.
const KEYS: usize = 20;

/// A store with everything in its engine and nothing in its cache, its engine, and how many keys
/// the state has that takes its place.
struct Old {
    fixture: Fixture,
    engine: Arc<MemEngine>,
}

impl Old {
    fn new() -> Old {
        let engine = Arc::new(MemEngine::new());
        let options = Options { value_cache_bytes: 0, ..Options::default() };
        let mut fixture =
            Fixture { store: Store::open(engine.clone(), options).unwrap(), index: 0 };
        for key in 0..KEYS {
            fixture.put(&format!("k{key}"), "some value", 0);
        }
        while fixture.store.flusher().flush_once().unwrap() {}
        Old { fixture, engine }
    }

    /// Puts a later state, without these keys, into the engine.
    fn replace(&self) -> Store {
        let mut later = Fixture::new();
        for _ in 0..3 * KEYS {
            later.put("other", "1", 0);
        }
        let compact = pb::CompactionRequest { revision: 2 * KEYS as i64, physical: false };
        later.apply(Op::Compact(compact)).result.unwrap();
        let mut bytes = Vec::new();
        later.store.snapshot().write_to(&mut bytes).unwrap();
        self.fixture.store.flusher().retire();
        Store::restore(self.engine.clone(), Options::default(), &mut &bytes[..]).unwrap()
    }
}

fn write(snapshot: &Snapshot) -> Result<(), Error> {
    snapshot.write_to(&mut Vec::new())
}

fn history(reader: &Reader) -> Result<usize, Error> {
    reader.history(2, i64::MAX, &|_| true, usize::MAX).map(|chunk| chunk.events.len())
}

#[test]
fn whoever_still_reads_the_old_state_is_told() {
    // Proves that no snapshot, hash, history or range is made of what another state put into the
    // engine: without this a backup under way would end well, and lack keys.
    let old = Old::new();
    let reader = old.fixture.store.reader();
    let snapshot = old.fixture.store.snapshot();
    let all = pb::RangeRequest { key: "k".into(), range_end: "\0".into(), ..Default::default() };
    let mut plan = reader.range_plan(None, &all).unwrap();
    assert_eq!(history(&reader), Ok(KEYS));
    let new = old.replace();
    assert_eq!(write(&snapshot), Err(Error::Replaced));
    assert_eq!(write(&old.fixture.store.snapshot()), Err(Error::Replaced));
    assert_eq!(reader.hash_kv(0), Err(Error::Replaced));
    assert_eq!(reader.hash(), Err(Error::Replaced));
    assert_eq!(history(&reader), Err(Error::Replaced));
    assert_eq!(plan.next_chunk(usize::MAX), Err(Error::Replaced));
    assert_eq!(reader.range(None, &all), Err(Error::Replaced));
    write(&new.snapshot()).unwrap();
    new.reader().hash_kv(0).unwrap();
}

#[test]
fn the_old_state_writes_nothing_into_the_new_one() {
    // Proves that what the old state had pending, and its compactor, leave the engine alone.
    let mut old = Old::new();
    old.fixture.put("late", "1", 0);
    let late =
        old.fixture.apply(Op::Compact(pb::CompactionRequest { revision: 4, physical: false }));
    late.result.unwrap();
    let new = old.replace();
    let hash = new.reader().hash().unwrap();
    assert_eq!(old.fixture.store.flusher().flush_once(), Ok(false));
    assert_eq!(old.fixture.store.compactor().step(100), Ok(false));
    let reopened = Store::open(old.engine.clone(), Options::default()).unwrap();
    assert_eq!(reopened.reader().position(), new.reader().position());
    assert_eq!(reopened.reader().hash().unwrap(), hash);
}
