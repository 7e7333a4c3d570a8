//! Answers that wait for nothing, and those that may.

use super::*;
use crate::RangePlan;

const KEYS: usize = 10;
const VALUE_BYTES: usize = 100;

fn filled(value_cache_bytes: usize) -> Fixture {
    let options = Options { value_cache_bytes, ..Options::default() };
    let store = Store::open(Arc::new(MemEngine::new()), options).unwrap();
    let mut fixture = Fixture { store, index: 0 };
    for key in 0..KEYS {
        fixture.put(&format!("k{key}"), &"v".repeat(VALUE_BYTES), 0);
    }
    fixture
}

fn plan(fixture: &Fixture, more: &pb::RangeRequest) -> RangePlan {
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..more.clone() };
    fixture.store.reader().range_plan(None, &all).unwrap()
}

fn flush(fixture: &Fixture) {
    while fixture.store.flusher().flush_once().unwrap() {}
}

#[test]
fn a_few_values_in_memory_are_at_hand() {
    // Proves the bounds of keys and bytes, also where no value is read or all were to be sorted; that
    // values are at hand while they are pending or cached, and are handed out though they are in no
    // cache any more; and that those which only the engine has are not.
    let any = pb::RangeRequest::default();
    let cached = filled(1 << 20);
    let is_at_hand = |more: &pb::RangeRequest, keys_max: usize, bytes_max: usize| {
        plan(&cached, more).is_at_hand(keys_max, bytes_max)
    };
    let keys_only = pb::RangeRequest { keys_only: true, ..Default::default() };
    let by_value = pb::RangeRequest {
        sort_target: pb::range_request::SortTarget::Value.into(),
        sort_order: pb::range_request::SortOrder::Descend.into(),
        ..Default::default()
    };
    for _ in ["pending", "cached"] {
        assert!(is_at_hand(&any, KEYS, 1 << 20));
        assert!(!is_at_hand(&any, KEYS - 1, 1 << 20));
        assert!(!is_at_hand(&any, KEYS, KEYS * VALUE_BYTES / 2));
        assert!(is_at_hand(&keys_only, KEYS, 0));
        assert!(!is_at_hand(&keys_only, KEYS - 1, 1 << 20));
        assert!(is_at_hand(&by_value, KEYS, 1 << 20));
        assert!(!is_at_hand(&by_value, KEYS, KEYS * VALUE_BYTES / 2));
        flush(&cached);
    }

    let uncached = filled(0);
    let mut held = plan(&uncached, &any);
    assert!(held.is_at_hand(KEYS, 1 << 20), "pending");
    flush(&uncached);
    let mut cold = plan(&uncached, &any);
    assert!(!cold.is_at_hand(KEYS, 1 << 20));
    let (held, cold) = (held.next_chunk(usize::MAX), cold.next_chunk(usize::MAX));
    assert_eq!(held, cold);
    assert_eq!(held.unwrap().unwrap().len(), KEYS);
}
