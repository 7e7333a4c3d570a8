//! The entry for fuzzing: a connection from bytes that nobody wrote.

use std::io;

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress};
use tokio_util::codec::{Decoder, Encoder};

use super::{
    CONTROL, CONTROL_BYTES_MAX, Decode, Encode, Frame, HEAD_BYTES, PIECE_BYTES_MAX, SYN_STREAM,
    VERSION,
};

/// Headers up to this are written again: deflated anew they still fit into a frame.
const HEADERS_BYTES_MAX: usize = CONTROL_BYTES_MAX / 4;

/// Reads arbitrary bytes as the frames of one connection.
///
/// The first byte is the size of the pieces they come in, the second chooses: even, and the rest are
/// the frames; odd, and the rest are blocks of headers (each with two bytes of length before it)
/// before they are deflated, whose frames are right. Either way reading must answer or refuse, never
/// panic, and keep no more than its bounds; in pieces it must read what it reads at once; and what
/// it read must come out again when it is written.
pub fn frames_arbitrary(data: &[u8]) {
    let [size, mode, rest @ ..] = data else { return };
    let bytes = if mode % 2 == 0 { rest.to_vec() } else { framed_blocks(rest) };
    let (whole, end) = decoded(&[&bytes]);
    let whole = joined(whole);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*size) + 1).collect();
    let (in_pieces, end_in_pieces) = decoded(&pieces);
    assert_eq!((joined(in_pieces), end_in_pieces.is_ok()), (whole.clone(), end.is_ok()));
    if whole.iter().all(is_small) {
        let (again, end) = decoded(&[&encoded(&whole)]);
        assert_eq!((joined(again), end.is_ok()), (whole, true));
    }
}

fn is_small(frame: &Frame) -> bool {
    let Frame::SynStream { headers, .. } = frame else { return true };
    let bytes = |(name, value): &(String, String)| 8 + name.len() + value.len();
    headers.iter().map(bytes).sum::<usize>() <= HEADERS_BYTES_MAX
}

fn framed_blocks(mut data: &[u8]) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::fast(), true);
    let mut out = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let (plain, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
        data = rest;
        let mut block = Vec::with_capacity(plain.len() * 2 + 64);
        let deflated = deflate.compress_vec(plain, &mut block, FlushCompress::Sync);
        deflated.expect("whatever it is, it can be deflated");
        let length = u32::try_from(10 + block.len()).expect("two bytes of length before it");
        out.extend((CONTROL | u32::from(VERSION) << 16 | u32::from(SYN_STREAM)).to_be_bytes());
        out.extend(length.to_be_bytes());
        // Its number, the one it belongs to, priority and slot.
        out.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend(block);
    }
    out
}

pub(super) fn encoded(frames: &[Frame]) -> Vec<u8> {
    let (mut encode, mut out) = (Encode::new(), BytesMut::new());
    for frame in frames {
        encode.encode(frame.clone(), &mut out).expect("it is short enough");
    }
    out.to_vec()
}

/// What is read when the bytes come in pieces, and how it ends. What waits is bounded all the time.
pub(super) fn decoded(pieces: &[&[u8]]) -> (Vec<Frame>, io::Result<()>) {
    let (mut decode, mut buffer, mut frames) = (Decode::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decode.decode(&mut buffer) {
                Ok(Some(Frame::Data { bytes, .. })) if bytes.len() > PIECE_BYTES_MAX => {
                    panic!("{} bytes in one piece", bytes.len())
                }
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(buffer.len() < HEAD_BYTES + CONTROL_BYTES_MAX, "{} bytes wait", buffer.len());
    }
    (frames, Ok(()))
}

/// Data of one frame comes in as many pieces as it likes: joins them again.
pub(super) fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut all: Vec<Frame> = Vec::new();
    for frame in frames {
        match (all.last_mut(), frame) {
            (
                Some(Frame::Data { stream, bytes, fin }),
                Frame::Data { stream: same, bytes: more, fin: last },
            ) if *stream == same && !*fin => {
                *bytes = [&bytes[..], &more[..]].concat().into();
                *fin = last;
            }
            (_, frame) => all.push(frame),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/spdy_frames");
        let mut streams = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            frames_arbitrary(&data);
            streams += decoded(&[&data[2..]]).0.len();
        }
        assert!(streams > 5, "the corpus has whole frames: {streams}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            size in any::<u8>(), odd in any::<bool>(),
            blocks in prop::collection::vec((0..40_u16, prop::collection::vec(0..4_u8, 0..40)), 0..8),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            // Proves the same for blocks of headers that nearly are some, and for noise.
            let mut data = vec![size, u8::from(odd)];
            for (longer, block) in blocks {
                data.extend((longer % 3 + u16::try_from(block.len()).unwrap()).to_be_bytes());
                data.extend(block);
            }
            data.extend(noise);
            frames_arbitrary(&data);
        }
    }
}
