//! The entry for fuzzing: bodies from bytes that nobody wrote.

use serde_json::Value;

use super::{MAGIC, decode};

/// Kinds whose objects are read. The order is the corpus's: add at the end.
const KINDS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "Event"),
    ("v1", "Node"),
    ("coordination.k8s.io/v1", "Lease"),
    ("policy/v1", "Eviction"),
];

/// The longest name of a field, and what JSON puts around it: a field of two bytes may become it.
const JSON_PER_BYTE: usize = 64;
/// The names of a kind.
const JSON_BYTES: usize = 1024;

/// Reads arbitrary bytes as a body.
///
/// The first byte chooses: a kind of [`KINDS`], and the rest are an object of it, in a body that is
/// right; any other, and the rest are the body. Either way reading must answer or refuse, never
/// panic, and take memory in proportion to the bytes; what it answers must be a document.
pub fn body_arbitrary(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let body = match KINDS.get(usize::from(choice)) {
        Some((api_version, kind)) => body_of(api_version, kind, rest),
        None => rest.to_vec(),
    };
    let Ok(document) = decode(&body) else { return };
    assert!(document["kind"].is_string() && document["apiVersion"].is_string(), "{document}");
    let json = document.to_string();
    let bound = JSON_BYTES + JSON_PER_BYTE * body.len();
    assert!(json.len() <= bound, "{} bytes became {} of JSON", body.len(), json.len());
    assert_eq!(serde_json::from_str::<Value>(&json).ok(), Some(document));
}

fn body_of(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC, &field(1, &meta), &field(2, object)].concat()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/kubernetes_protobuf");
        let mut chosen = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            body_arbitrary(&data);
            chosen.extend(data.first().copied());
        }
        assert!(chosen.len() > KINDS.len(), "the corpus has each kind at least once");
    }

    /// Fields within fields, of numbers that most messages have.
    fn object() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop::collection::vec(any::<u8>(), 0..12);
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                4 => prop::collection::vec((1..16_u8, inner.clone()), 0..6).prop_map(|fields| {
                    fields.iter().flat_map(|(number, bytes)| field(*number, bytes)).collect()
                }),
                1 => (1..16_u8, any::<u8>()).prop_map(|(number, value)| vec![number << 3, value & 0x7f]),
                1 => inner.prop_map(|mut bytes| { bytes.pop(); bytes }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_is_read_or_refused(
            kind in 0..u8::try_from(KINDS.len()).unwrap() + 1, object in object(),
        ) {
            // Proves the same for messages of every kind that nearly are some.
            body_arbitrary(&[&[kind], &object[..]].concat());
        }
    }
}
