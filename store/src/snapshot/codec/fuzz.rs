//! The entry for fuzzing: snapshots from bytes that nobody wrote.

use super::*;

/// Reads arbitrary bytes as a snapshot.
///
/// The first byte chooses: even, and the rest are the snapshot; odd, and the rest are the payloads
/// of blocks (each with two bytes of length before it) whose frames and trailer are right. Either
/// way reading must answer or refuse, never panic, and take memory in proportion to the bytes; what
/// it answers must come out again when it is written.
pub fn decode_arbitrary(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let framed = if mode % 2 == 0 { rest.to_vec() } else { frame_payloads(rest) };
    let Ok(records) = read_all(&framed) else { return };
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    for record in &records {
        writer.record(&[record]).expect("what was read is short enough");
    }
    let written = writer.finish().expect("a vector takes all");
    assert!(read_all(&written).expect("what was written can be read") == records);
}

fn read_all(bytes: &[u8]) -> io::Result<Vec<Bytes>> {
    let mut reader = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

fn frame_payloads(mut data: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let (payload, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
        data = rest;
        writer.frame(BLOCK, payload).expect("a vector takes all");
        writer.records += records_in(payload);
    }
    writer.finish().expect("a vector takes all")
}

/// Records that a payload has, as far as its lengths are possible.
fn records_in(mut payload: &[u8]) -> u64 {
    let mut records = 0;
    while let Ok(len) = payload.try_get_u32() {
        records += 1;
        payload = payload.get(len as usize..).unwrap_or_default();
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/snapshot_decode");
        let mut whole = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            decode_arbitrary(&data);
            whole += usize::from(read_all(&data[1..]).is_ok());
        }
        assert!(whole > 0, "the corpus has at least one whole snapshot");
    }
}
