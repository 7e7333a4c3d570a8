//! An engine from a snapshot.

use std::io::Read;

use bytes::{Buf, Bytes};

use super::{OTHER, VERSION, codec};
use crate::engine::{Batch, Engine};
use crate::persist::records;
use crate::{Error, Revision};

/// Bytes that one batch takes to the engine, about.
const BATCH_BYTES: usize = 4 << 20;

/// Replaces everything in the engine. The mark is written last, when the snapshot has proved to
/// be whole: an engine without a mark is one that nobody opens.
pub(crate) fn restore(engine: &dyn Engine, source: &mut dyn Read) -> Result<(), Error> {
    let mut reader = codec::Reader::new(source)?;
    engine.clear()?;
    let mut mark = None;
    let (mut batch, mut bytes) = (Batch::default(), 0);
    while let Some(record) = reader.next()? {
        bytes += record.len();
        add(record, &mut batch, &mut mark).ok_or_else(|| damaged("a record of it"))?;
        if bytes >= BATCH_BYTES {
            engine.apply(std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    batch.put(Bytes::from_static(records::MARK_KEY), mark.ok_or_else(|| damaged("its mark"))?);
    engine.apply(batch)?;
    Ok(engine.flush()?)
}

/// Reads a whole snapshot and changes nothing: whether [`crate::Store::restore`] could take it.
/// Blocks for as long as that takes.
///
/// # Errors
/// [`Error::Engine`] says what is damaged, or how reading failed.
pub fn verify_snapshot(source: &mut dyn Read) -> Result<(), Error> {
    let mut reader = codec::Reader::new(source)?;
    let (mut batch, mut mark) = (Batch::default(), None);
    while let Some(record) = reader.next()? {
        add(record, &mut batch, &mut mark).ok_or_else(|| damaged("a record of it"))?;
        batch = Batch::default();
    }
    mark.map(drop).ok_or_else(|| damaged("its mark"))
}

fn add(mut record: Bytes, batch: &mut Batch, mark: &mut Option<Bytes>) -> Option<()> {
    match record.try_get_u8().ok()? {
        VERSION => {
            let mut revision = [0; Revision::BYTES];
            record.try_copy_to_slice(&mut revision).ok()?;
            let revision = Revision::from_bytes(revision);
            let len = record.try_get_u32().ok()? as usize;
            let version = (len <= record.len()).then(|| record.split_to(len))?;
            batch.put(Bytes::copy_from_slice(&records::version_key(revision)), version);
            if !record.is_empty() {
                batch.put(Bytes::copy_from_slice(&records::value_key(revision)), record);
            }
        }
        OTHER => {
            let len = record.try_get_u32().ok()? as usize;
            let key = (len <= record.len()).then(|| record.split_to(len))?;
            if key == records::MARK_KEY {
                *mark = Some(record);
            } else {
                batch.put(key, record);
            }
        }
        _ => return None,
    }
    Some(())
}

fn damaged(what: &str) -> Error {
    Error::Engine(format!("the snapshot is damaged: {what}"))
}
