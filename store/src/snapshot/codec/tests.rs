use proptest::prelude::*;

use super::*;

const GOLDEN: &[u8] = include_bytes!("../../../testdata/snapshot-v1.bin");

fn encode(records: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for record in records {
        writer.record(&[record]).unwrap();
    }
    writer.finish().unwrap()
}

fn decode(bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut reader = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record.to_vec());
    }
    assert!(reader.next()?.is_none(), "the end is final");
    Ok(records)
}

/// A source that gives one byte at a time and never more than it was asked for.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(1);
        self.0.read(&mut buffer[..len])
    }
}

/// The bytes of version 1 are what they always were, and still mean the same.
#[test]
fn golden_file() {
    let records = [b"one".to_vec(), Vec::new(), b"\0\xff".to_vec()];
    assert_eq!(decode(GOLDEN).unwrap(), records);
    assert_eq!(encode(&records), GOLDEN);
}

/// Of the golden file no proper prefix is a snapshot, and neither is it with any bit turned or
/// with a byte more.
#[test]
fn every_truncation_and_every_bit_flip_of_the_golden_file() {
    for len in 0..GOLDEN.len() {
        let error = decode(&GOLDEN[..len]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len} bytes: {error}");
    }
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes).is_err(), "bit {bit}");
    }
    assert!(decode(&[GOLDEN, &[0]].concat()).is_err());
}

/// Records longer than a block, and blocks of many records, come back in order.
#[test]
fn records_of_every_size() {
    let sizes = [0, 1, BLOCK_BYTES - 4, BLOCK_BYTES - 3, 3 << 19, 7, 100_000, 0];
    let records: Vec<_> = sizes.iter().zip(0_u8..).map(|(len, fill)| vec![fill; *len]).collect();
    assert!(decode(&encode(&records)).unwrap() == records);
}

/// A record in parts is their concatenation.
#[test]
fn parts_make_one_record() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.record(&[b"a", b"", b"bc"]).unwrap();
    assert_eq!(decode(&writer.finish().unwrap()).unwrap(), [b"abc"]);
}

/// Without its trailer a snapshot is cut short, also at the border of two blocks.
#[test]
fn an_unfinished_snapshot_is_refused() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    writer.record(&[&[1; BLOCK_BYTES]]).unwrap();
    drop(writer);
    assert_eq!(decode(&bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// Blocks that are right each for itself are noticed when they are dropped, doubled or swapped.
#[test]
fn blocks_belong_together() {
    let block = |fill: u8| vec![fill; BLOCK_BYTES];
    let len = FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + BLOCK_BYTES;
    let whole = encode(&[block(1), block(2)]);
    let (header, rest) = whole.split_at(HEADER_BYTES);
    let (first, rest) = rest.split_at(len);
    let (second, trailer) = rest.split_at(len);
    assert!(decode(&[header, first, second, trailer].concat()).is_ok());
    for parts in [&[second, first][..], &[first], &[first, first], &[first, second, second], &[]] {
        let bytes = [header, &parts.concat(), trailer].concat();
        assert_eq!(decode(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

/// Another version is told from damage.
#[test]
fn another_version_is_refused() {
    let mut header = GOLDEN[..12].to_vec();
    header[11] = 2;
    header.put_u32(crc32fast::hash(&header));
    let error = Reader::new(&header[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
}

/// A length that promises gigabytes costs an error, not the memory.
#[test]
fn lengths_are_not_trusted() {
    let mut bytes = GOLDEN[..HEADER_BYTES].to_vec();
    bytes.put_u8(BLOCK);
    bytes.put_u32(len_u32(PAYLOAD_BYTES_MAX));
    bytes.put_u32(0);
    bytes.put_slice(b"short");
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert_eq!(reader.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(reader.next().unwrap().is_none(), "nothing is read after an error");
    bytes[HEADER_BYTES + 1] = 0xff;
    assert_eq!(decode(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

/// A block whose checksum is right but whose records overlap its end is refused.
#[test]
fn record_lengths_are_not_trusted() {
    for payload in [&[0, 0, 0, 2, 7][..], &[0xff; 4], &[0, 0, 0, 0, 0]] {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.frame(BLOCK, payload).unwrap();
        let error = decode(&writer.finish().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{payload:?}");
    }
}

fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let short = prop::collection::vec(any::<u8>(), 0..40);
    let long = (any::<u8>(), 30_000..70_000_usize).prop_map(|(fill, len)| vec![fill; len]);
    prop::collection::vec(prop_oneof![9 => short, 1 => long], 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What goes in comes out, whatever pieces the source gives.
    #[test]
    fn round_trip(records in records()) {
        let bytes = encode(&records);
        prop_assert_eq!(&decode(&bytes).unwrap(), &records);
        let mut reader = Reader::new(Trickle(&bytes)).unwrap();
        for record in &records {
            prop_assert_eq!(&reader.next().unwrap().unwrap()[..], &record[..]);
        }
        prop_assert!(reader.next().unwrap().is_none());
    }

    /// Cut anywhere, it is an error, and what came before the error is a prefix of the truth.
    #[test]
    fn any_truncation_is_an_error(records in records(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&records);
        prop_assert!(damage_is_noticed(&bytes[..at.index(bytes.len())], &records));
    }

    /// With any bit turned it is an error, and what came before the error is a prefix of the
    /// truth.
    #[test]
    fn any_bit_flip_is_an_error(records in records(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = encode(&records);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(damage_is_noticed(&bytes, &records));
    }

    /// Bytes that nobody wrote are an error and nothing worse.
    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
        prop_assert!(decode(&[&GOLDEN[..HEADER_BYTES], &bytes].concat()).is_err());
    }
}

/// Whether reading `bytes` gives first records of `truth` and then an error.
fn damage_is_noticed(bytes: &[u8], truth: &[Vec<u8>]) -> bool {
    let Ok(mut reader) = Reader::new(bytes) else { return true };
    for expected in truth {
        match reader.next() {
            Ok(Some(record)) if record == expected[..] => {}
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
    reader.next().is_err()
}
