//! The entry for fuzzing: keys and records of the engine from bytes that nobody wrote.

use bytes::Bytes;

use crate::Revision;
use crate::auth::AuthState;
use crate::persist::records::{
    Mark, decode_alarms, decode_lease, decode_members, decode_version, encode_alarms, encode_lease,
    encode_members, encode_version, lease_key, revision_of_key, value_key, version_key,
};

/// Reads arbitrary bytes as what the engine may give back.
///
/// The first byte chooses the kind, the second the length of the key; the rest are key and value.
/// Decoding must answer or refuse, never panic; what it takes must encode to the same bytes, and
/// keys must sort as what they stand for.
pub fn decode_arbitrary(data: &[u8]) {
    let [kind, key_len, rest @ ..] = data else { return };
    let (key, value) = rest.split_at(usize::from(*key_len).min(rest.len()));
    match kind % 7 {
        0 => revisions(key, value),
        1 => version(key, value),
        2 => lease(key, value),
        3 => mark(value),
        4 => alarms(value),
        5 => members(value),
        _ => auth(key, value),
    }
}

fn revisions(left: &[u8], right: &[u8]) {
    let (Some(left), Some(right)) = (revision_of_key(left), revision_of_key(right)) else { return };
    for revision in [left, right] {
        assert_eq!(Revision::from_bytes(revision.to_bytes()), revision);
        assert_eq!(revision_of_key(&version_key(revision)), Some(revision));
        assert_eq!(revision_of_key(&value_key(revision)), Some(revision));
    }
    if left.main >= 0 && right.main >= 0 {
        assert_eq!(version_key(left).cmp(&version_key(right)), left.cmp(&right));
        assert_eq!(value_key(left).cmp(&value_key(right)), left.cmp(&right));
    }
}

fn version(key: &[u8], record: &[u8]) {
    let Some(revision) = revision_of_key(key) else { return };
    if let Some((key, entry)) = decode_version(revision, record) {
        assert_eq!(encode_version(key, &entry), record);
    }
}

fn lease(key: &[u8], record: &[u8]) {
    let Some((id, term)) = decode_lease(key, record) else { return };
    assert_eq!(lease_key(id)[1..], key[1..9]);
    // Nobody writes down that all is left.
    assert!(encode_lease(&term) == record || term.remaining_s == 0);
    assert_eq!(lease_key(id).cmp(&lease_key(term.ttl_s)), id.cmp(&term.ttl_s));
}

fn mark(record: &[u8]) {
    if let Some(mark) = Mark::decode(record) {
        assert_eq!(mark.encode(), record);
    }
}

fn alarms(record: &[u8]) {
    if let Some(alarms) = decode_alarms(record) {
        assert_eq!(decode_alarms(&encode_alarms(alarms.clone())), Some(alarms));
    }
}

fn members(record: &[u8]) {
    if let Some(members) = decode_members(record) {
        assert_eq!(decode_members(&encode_members(&members)), Some(members));
    }
}

fn auth(key: &[u8], value: &[u8]) {
    let record = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    let Ok(state) = AuthState::load([record]) else { return };
    assert_eq!(AuthState::load(state.records()).as_ref(), Ok(&state));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/key_codec");
        let mut kinds = BTreeSet::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            decode_arbitrary(&data);
            kinds.insert(data[0] % 7);
        }
        assert_eq!(kinds.len(), 7, "the corpus has each kind at least once");
    }
}
