//! Frames as they are sent, and whatever else may come.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::fuzz::{decoded, encoded, joined};
use super::{Frame, Headers, PIECE_BYTES_MAX, SYN_STREAM};

fn some_headers() -> impl Strategy<Value = Headers> {
    vec(("[a-z-]{1,12}", "[ -~]{0,30}"), 0..5)
}

fn some_frame() -> impl Strategy<Value = Frame> {
    let stream = 1..1_u32 << 31;
    prop_oneof![
        (stream.clone(), some_headers(), any::<bool>())
            .prop_map(|(stream, headers, fin)| Frame::SynStream { stream, headers, fin }),
        stream.clone().prop_map(|stream| Frame::SynReply { stream }),
        (stream.clone(), vec(any::<u8>(), 0..200), any::<bool>())
            .prop_map(|(stream, bytes, fin)| Frame::Data { stream, bytes: bytes.into(), fin }),
        (stream.clone(), any::<u32>())
            .prop_map(|(stream, reason)| Frame::RstStream { stream, reason }),
        any::<u32>().prop_map(|id| Frame::Ping { id }),
        Just(Frame::GoAway),
        (stream, 0..1_u32 << 31).prop_map(|(stream, bytes)| Frame::WindowUpdate { stream, bytes }),
    ]
}

proptest! {
    #[test]
    fn frames_come_as_they_were_sent(
        frames in vec(some_frame(), 0..12), size in 1_usize..100,
    ) {
        // Proves that any frames are read as they were written, however their bytes are torn.
        let bytes = encoded(&frames);
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        let (read, end) = decoded(&pieces);
        prop_assert!(end.is_ok());
        prop_assert_eq!(joined(read), joined(frames));
    }

    #[test]
    fn bad_bytes_end_in_an_answer(
        frames in vec(some_frame(), 0..6), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in vec(any::<u8>(), 0..300), size in 1_usize..400,
    ) {
        // Proves that neither frames with some bytes changed nor noise makes the decoder panic or
        // keep more than its bounds.
        let mut bytes = encoded(&frames);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.extend(&noise);
        let _ = decoded(&bytes.chunks(size).collect::<Vec<_>>());
        let _ = decoded(&noise.chunks(size).collect::<Vec<_>>());
        // Headers that are noise after a beginning that is right.
        let mut block = vec![0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];
        block.extend(&noise);
        let mut syn = vec![0x80, 3, 0, u8::try_from(SYN_STREAM).unwrap(), 0, 0];
        syn.extend(u16::try_from(block.len() + 10).unwrap().to_be_bytes());
        syn.extend([0; 10]);
        syn.extend(&block);
        let _ = decoded(&[&syn]);
    }
}

#[test]
fn long_frames_come_in_pieces_or_not_at_all() {
    // Proves that data frames as long as they can be are handed on without being kept, and that a
    // control frame that says it is long is refused before it comes.
    let mut head = vec![0, 0, 0, 5, 1, 0xff, 0xff, 0xff];
    head.extend(vec![7; 3 * PIECE_BYTES_MAX]);
    let (frames, end) = decoded(&[&head]);
    assert!(end.is_ok());
    let lengths: Vec<(usize, bool)> = frames
        .iter()
        .map(|frame| match frame {
            Frame::Data { stream: 5, bytes, fin } => (bytes.len(), *fin),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [(PIECE_BYTES_MAX, false); 3]);

    let (frames, end) = decoded(&[&[0x80, 3, 0, 4, 0, 1, 0, 0]]);
    assert!(frames.is_empty() && end.unwrap_err().to_string().contains("too long"));
}

#[test]
fn what_concerns_nobody_is_passed_over() {
    // Proves that settings and frames that the protocol does not know are skipped, their payload too,
    // and that another version is refused.
    let ping = encoded(&[Frame::Ping { id: 1 }]);
    let settings = [0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0];
    let unknown = [0x80, 3, 0, 99, 0, 0, 0, 2, 1, 2];
    let (frames, end) = decoded(&[&settings, &unknown, &ping]);
    assert!(end.is_ok());
    assert_eq!(frames, [Frame::Ping { id: 1 }]);
    assert!(decoded(&[&[0x80, 2, 0, 6, 0, 0, 0, 0]]).1.is_err());
    let empty = Frame::Data { stream: 3, bytes: Bytes::new(), fin: true };
    assert_eq!(decoded(&[&encoded(std::slice::from_ref(&empty))]).0, [empty]);
}
