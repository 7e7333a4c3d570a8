//! How far a mirror has come, as a key at the destination says it.
//!
//! ```json
//! {"mirror":1,"source_cluster":"cdf818194e3a8c32","prefix":"a/","dest_prefix":"b/",
//!  "revision":812,"partial_revision":0,"partial_operations":0,"complete":true}
//! ```

use bytes::Bytes;
use serde_json::{Value, json};

use super::mapping::Mapping;

/// Of the text above.
const VERSION: i64 = 1;

/// Everything up to a revision of the source is at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) source_cluster: u64,
    pub(super) prefix: String,
    pub(super) dest_prefix: String,
    pub(super) revision: i64,
    /// Of a later revision that does not fit into one transaction, how many operations are at the
    /// destination too.
    pub(super) partial: Option<Partial>,
    /// False while all keys are being copied: then the destination is of no revision at all.
    pub(super) complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) revision: i64,
    pub(super) operations: usize,
}

/// Where the checkpoint is if nobody says otherwise: no two mirrors share it.
pub(super) fn default_key(source_cluster: u64, mapping: &Mapping) -> Bytes {
    let (from, to) = mapping.texts();
    format!("berth-mirror/{source_cluster:016x}/{from}>{to}").into()
}

impl Checkpoint {
    /// Of a copy of everything at `revision` that has begun.
    pub(super) fn begun(source_cluster: u64, mapping: &Mapping, revision: i64) -> Self {
        let (prefix, dest_prefix) = mapping.texts();
        Self { source_cluster, prefix, dest_prefix, revision, partial: None, complete: false }
    }

    /// Whether it is of a mirror between the same prefixes.
    pub(super) fn is_of(&self, mapping: &Mapping) -> bool {
        mapping.texts() == (self.prefix.clone(), self.dest_prefix.clone())
    }

    /// The same with everything up to `revision` done.
    pub(super) fn done(&self, revision: i64) -> Self {
        Self { revision, partial: None, complete: true, ..self.clone() }
    }

    /// The same with the first operations of a later revision done.
    pub(super) fn partly(&self, revision: i64, operations: usize) -> Self {
        Self { partial: Some(Partial { revision, operations }), ..self.clone() }
    }

    /// How many operations of `revision` are at the destination already.
    pub(super) fn operations_of(&self, revision: i64) -> usize {
        self.partial.filter(|partial| partial.revision == revision).map_or(0, |it| it.operations)
    }

    pub(super) fn encode(&self) -> Bytes {
        let (revision, operations) = self.partial.map_or((0, 0), |it| (it.revision, it.operations));
        let record = json!({
            "mirror": VERSION,
            "source_cluster": format!("{:016x}", self.source_cluster),
            "prefix": self.prefix,
            "dest_prefix": self.dest_prefix,
            "revision": self.revision,
            "partial_revision": revision,
            "partial_operations": operations,
            "complete": self.complete,
        });
        record.to_string().into()
    }

    /// `None`: this is no checkpoint, or one of a later version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let record: Value = serde_json::from_slice(bytes).ok()?;
        let number = |name: &str| record.get(name)?.as_i64();
        let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
        if number("mirror")? != VERSION {
            return None;
        }
        let partial = match number("partial_revision")? {
            0 => None,
            revision => {
                let operations = usize::try_from(number("partial_operations")?).ok()?;
                Some(Partial { revision, operations })
            }
        };
        Some(Self {
            source_cluster: u64::from_str_radix(&text("source_cluster")?, 16).ok()?,
            prefix: text("prefix")?,
            dest_prefix: text("dest_prefix")?,
            revision: number("revision")?,
            partial,
            complete: record.get("complete")?.as_bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        // Proves that every state of a checkpoint comes back, and that other values are not taken
        // for one.
        let mapping = Mapping::new(b"a/\xff\"", b"");
        let begun = Checkpoint::begun(u64::MAX, &mapping, 9);
        for checkpoint in [begun.clone(), begun.done(12), begun.done(12).partly(20, 127)] {
            assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint.clone()));
            assert!(checkpoint.is_of(&mapping));
        }
        assert_eq!(begun.done(12).partly(20, 127).operations_of(20), 127);
        assert_eq!(begun.done(12).partly(20, 127).operations_of(13), 0);
        for other in [&b""[..], b"12", b"{}", br#"{"mirror":2}"#, br#"{"mirror":1,"revision":3}"#] {
            assert_eq!(Checkpoint::decode(other), None);
        }
    }
}
