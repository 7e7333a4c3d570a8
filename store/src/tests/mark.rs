//! Where the log begins and in which order it goes on.

use super::*;
use crate::Revision;
use crate::engine::{Batch, CrashEngine};
use crate::persist::records::value_key;

fn at(index: u64) -> Position {
    Position { index, term: 1, log_id: Bytes::from_static(b"log id") }
}

#[test]
fn a_log_may_begin_with_entry_0() {
    // Raft's first entry is a membership at index 0; it survives, and what follows is applied.
    let mut fixture = Fixture::new();
    fixture.store.advance(at(0), Some(Bytes::from_static(b"members")));
    assert_eq!(fixture.store.reader().position(), at(0));
    assert_eq!(fixture.store.reader().membership().unwrap(), "members");
    assert_eq!(fixture.put("k", "v", 0).revision, 2);
}

#[test]
#[should_panic(expected = "entries are applied in order, each once")]
fn an_entry_is_not_applied_twice() {
    // A replica that applied one twice would differ from the others for good.
    let mut fixture = Fixture::new();
    fixture.store.advance(at(5), None);
    fixture.store.advance(at(5), None);
}

#[test]
fn an_engine_without_a_mark_is_not_opened() {
    // That is a restore that did not finish; so is one whose records do not fit together.
    let engine = Arc::new(MemEngine::new());
    let mut batch = Batch::default();
    batch.put("salarms", "");
    engine.apply(batch).unwrap();
    assert!(matches!(Store::open(engine, Options::default()), Err(Error::Engine(_))));
}

#[test]
fn a_damaged_snapshot_leaves_nothing_to_open() {
    // Cut anywhere, it is refused, and what it left in the engine is not opened.
    let mut fixture = Fixture::new();
    fixture.apply(Op::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 }));
    fixture.put("k", "v", 7);
    let mut bytes = Vec::new();
    fixture.store.snapshot().write_to(&mut bytes).unwrap();
    for len in 0..bytes.len() {
        let engine: Arc<dyn Engine> = Arc::new(MemEngine::new());
        let restored = Store::restore(Arc::clone(&engine), Options::default(), &mut &bytes[..len]);
        assert!(matches!(restored, Err(Error::Engine(_))), "{len}");
        let opened = Store::open(engine, Options::default());
        assert!(opened.is_err() || opened.unwrap().reader().revision() == 1);
    }
}

#[test]
fn a_restored_engine_has_the_snapshot_alone_and_keeps_it() {
    // Proves that what was there before is gone, and that a power failure right after takes nothing.
    let mut fixture = Fixture::new();
    fixture.put("k", "v", 0);
    let mut bytes = Vec::new();
    fixture.store.snapshot().write_to(&mut bytes).unwrap();
    let used = Arc::new(CrashEngine::new());
    let store = Store::open(used.clone(), Options::default()).unwrap();
    let mut before = Fixture { store, index: 0 };
    for key in ["a", "b", "c"] {
        before.put(key, "v", 0);
    }
    while before.store.flusher().flush_once().unwrap() {}
    used.flush().unwrap();
    drop(before);
    let empty = Arc::new(MemEngine::new());
    for engine in [used.clone() as Arc<dyn Engine>, empty.clone()] {
        Store::restore(engine, Options::default(), &mut &bytes[..]).unwrap();
    }
    let all = |engine: &dyn Engine| {
        let mut all = Vec::new();
        let mut take = |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        engine.scan(&[], &[u8::MAX], &mut take).unwrap();
        all
    };
    assert_eq!(all(&used.crash(0)), all(&*empty));
}

#[test]
fn a_command_that_the_engine_failed_is_not_marked_as_applied() {
    // Proves that what was committed and could not be applied, because the engine had lost a
    // value, is applied by the next start: it must not end with a mark behind what never happened.
    let engine = Arc::new(MemEngine::new());
    let options = Options { value_cache_bytes: 0, ..Options::default() };
    let mut fixture = Fixture { store: Store::open(engine.clone(), options).unwrap(), index: 0 };
    fixture.put("k", "v", 0);
    let flusher = fixture.store.flusher();
    while flusher.flush_once().unwrap() {}
    let mut lost = Batch::default();
    lost.delete(Bytes::copy_from_slice(&value_key(Revision::new(2, 0))));
    engine.apply(lost).unwrap();
    let keep_value = pb::PutRequest { ignore_value: true, ..put("k", "", 0) };
    let applied = fixture.apply(Op::Put(keep_value));
    assert!(matches!(applied.result, Err(Error::Engine(_))), "{:?}", applied.result);
    while flusher.flush_once().unwrap() {}
    let reopened = Store::open(engine, Options::default()).unwrap();
    assert_eq!(reopened.reader().position().index, 1);
}
