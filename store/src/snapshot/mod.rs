//! The whole state as a stream, and back.
//!
//! The content is records as the engine has them, so that restoring is writing them down; the
//! codec knows nothing of that. Each record of the stream begins with its kind:
//!
//! | kind | rest |
//! |---|---|
//! | `m` | revision (12 bytes), length of the version record (u32), version record, value |
//! | `r` | length of the key (u32), key, value: any other record of the engine |
//!
//! The mark is the first record. Start at [`Snapshot::write_to`].

pub mod codec;
mod items;
mod restore;
mod transplant;

use std::io::Write;

use bytes::Bytes;

pub use self::items::{Auth, Composer, Item, Version, dissect};
pub(crate) use self::restore::restore;
pub use self::restore::verify_snapshot;
pub use self::transplant::{Summary, Transplant, summarize, transplant};
use crate::hash::each_version;
use crate::persist::records::{self, Mark};
use crate::shared::Shared;
use crate::state::State;
use crate::v2::Frozen;
use crate::view::View;
use crate::{Error, Position};
use std::sync::Arc;

const VERSION: u8 = b'm';
const OTHER: u8 = b'r';

/// A consistent view of the whole state at the mark where it was taken.
///
/// Reading it never stops the writer. While it exists, physical compaction leaves alone what it
/// needs.
pub struct Snapshot {
    view: View,
    position: Position,
    /// All but versions, values, the mark and the tree of the v2 API.
    records: Vec<(Bytes, Bytes)>,
    v2: Frozen,
}

impl Snapshot {
    pub(crate) fn new(shared: &Arc<Shared>) -> Snapshot {
        let (mut position, mut records) = (Position::default(), Vec::new());
        let mut v2 = Frozen::default();
        let view = View::now(shared, |state| {
            position = state.position.clone();
            records = small_records(state);
            v2 = state.v2.freeze();
            Ok(())
        });
        Snapshot { view: view.expect("nobody was refused"), position, records, v2 }
    }

    pub fn position(&self) -> Position {
        self.position.clone()
    }

    pub fn revision(&self) -> i64 {
        self.view.revision
    }

    /// Streams it in checksummed blocks, the same each time. Whoever wants it slower gives a slower
    /// writer.
    ///
    /// # Errors
    /// [`Error::Engine`] for the engine as well as for `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), Error> {
        let mut writer = codec::Writer::new(out)?;
        let mark = Mark {
            position: self.position.clone(),
            revision: self.view.revision,
            compact_revision: self.view.compact_revision,
        };
        other(&mut writer, records::MARK_KEY, &mark.encode())?;
        for (key, record) in &self.records {
            other(&mut writer, key, record)?;
        }
        self.v2.records(&mut |key, record| other(&mut writer, &key, &record))?;
        each_version(&self.view, self.view.revision, |key, entry, value| {
            let record = records::encode_version(key, entry);
            let len = u32_len(&record);
            let revision = entry.revision.to_bytes();
            Ok(writer.record(&[&[VERSION], &revision, &len, &record, value])?)
        })?;
        writer.finish()?;
        Ok(())
    }
}

fn other<W: Write>(writer: &mut codec::Writer<W>, key: &[u8], record: &[u8]) -> Result<(), Error> {
    Ok(writer.record(&[&[OTHER], &u32_len(key), key, record])?)
}

fn u32_len(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("keys and records are far below 4 GiB").to_be_bytes()
}

fn small_records(state: &State) -> Vec<(Bytes, Bytes)> {
    let mut found: Vec<(Bytes, Bytes)> = state.auth.records().collect();
    found.extend(
        state
            .leases
            .iter()
            .map(|(id, lease)| (records::lease_key(id), records::encode_lease(&lease.term))),
    );
    let alarms = records::encode_alarms(state.alarms.of_type(0));
    found.push((Bytes::from_static(records::ALARMS_KEY), alarms));
    let members = records::encode_members(&state.members);
    found.push((Bytes::from_static(records::MEMBERS_KEY), members));
    if let Some(membership) = &state.membership {
        found.push((Bytes::from_static(records::MEMBERSHIP_KEY), membership.clone()));
    }
    found
}
