//! Where the log begins and in which order it goes on.

use super::*;

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
    let mut batch = crate::engine::Batch::default();
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
