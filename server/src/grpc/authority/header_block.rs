//! The fields of an HPACK header block, as far as it takes to find `:authority` (RFC 7541,
//! sections 5 and 6).

/// The entry of the static table that is `:authority`.
const AUTHORITY: usize = 1;
const HUFFMAN: u8 = 0x80;

/// Replaces the scheme in front of a literal `:authority`. A block that is cut off, or none at
/// all, is left as it is from there on.
pub(super) fn mend(mut block: &mut [u8]) {
    while let Some((field, rest)) = Field::take(block) {
        if let Field::Authority { huffman, value } = field {
            mend_value(huffman, value);
        }
        block = rest;
    }
}

/// One field representation.
enum Field<'a> {
    Authority { huffman: bool, value: &'a mut [u8] },
    Other,
}

impl<'a> Field<'a> {
    fn take(block: &'a mut [u8]) -> Option<(Field<'a>, &'a mut [u8])> {
        // How many bits of the first byte belong to an index, and whether a value follows.
        let (bits, has_value) = match *block.first()? {
            0x80.. => (7, false),
            0x40.. => (6, true),
            // An update of the table's size.
            0x20.. => (5, false),
            _ => (4, true),
        };
        let (index, mut block) = take_integer(block, bits)?;
        if !has_value {
            return Some((Field::Other, block));
        }
        if index == 0 {
            (_, _, block) = take_string(block)?;
        }
        let (huffman, value, block) = take_string(block)?;
        let field = match index {
            AUTHORITY => Field::Authority { huffman, value },
            _ => Field::Other,
        };
        Some((field, block))
    }
}

/// Whether it is Huffman-coded, its bytes, and what follows.
fn take_string(block: &mut [u8]) -> Option<(bool, &mut [u8], &mut [u8])> {
    let huffman = block.first()? & HUFFMAN != 0;
    let (len, block) = take_integer(block, 7)?;
    let (value, block) = block.split_at_mut_checked(len)?;
    Some((huffman, value, block))
}

/// An integer whose first part is in the low `bits` bits.
fn take_integer(block: &mut [u8], bits: u8) -> Option<(usize, &mut [u8])> {
    let mask = (1 << bits) - 1;
    let mut value = usize::from(block.first()? & mask);
    let mut taken = 1;
    if value == usize::from(mask) {
        for shift in [0, 7, 14, 21] {
            let byte = *block.get(taken)?;
            taken += 1;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value, &mut block[taken..]));
            }
        }
        return None;
    }
    Some((value, &mut block[taken..]))
}

fn mend_value(huffman: bool, value: &mut [u8]) {
    if huffman {
        for scheme in &CODED {
            scheme.mend(value);
        }
        return;
    }
    for scheme in [&b"http://"[..], b"https://"] {
        if value.starts_with(scheme) {
            let end = scheme.len();
            value[end - 3..end].copy_from_slice(b"B--");
        }
    }
}

/// A scheme in HPACK's Huffman code: its first bits, and those bits with `://` turned into `B--`.
/// The codes of `:` and `B` have 7 bits, those of `/` and `-` 6 (RFC 7541, appendix B).
struct Coded {
    bits: u32,
    from: u64,
    to: u64,
}

const CODED: [Coded; 2] = [Coded::of(b"http"), Coded::of(b"https")];

impl Coded {
    const fn of(scheme: &[u8]) -> Self {
        let (mut code, mut bits) = (0_u64, 0);
        let mut at = 0;
        while at < scheme.len() {
            let (letter, len) = match scheme[at] {
                b'h' => (0b10_0111, 6),
                b't' => (0b0_1001, 5),
                b'p' => (0b10_1011, 6),
                _ => (0b0_1000, 5), // `s`
            };
            code = code << len | letter;
            bits += len;
            at += 1;
        }
        // `:`, `/`, `/`; then `B`, `-`, `-`.
        let from = code << 19 | 0b101_1100 << 12 | 0b01_1000 << 6 | 0b01_1000;
        let to = code << 19 | 0b101_1101 << 12 | 0b01_0110 << 6 | 0b01_0110;
        Self { bits: bits + 19, from, to }
    }

    fn mend(&self, value: &mut [u8]) {
        let Some(first) = value.first_chunk_mut::<8>() else { return };
        let word = u64::from_be_bytes(*first);
        let shift = u64::BITS - self.bits;
        if word >> shift == self.from {
            let rest = word & ((1 << shift) - 1);
            *first = (self.to << shift | rest).to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(block: &[u8]) -> Vec<u8> {
        let mut block = block.to_vec();
        mend(&mut block);
        block
    }

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// The fields of a call as Go's `golang.org/x/net/http2/hpack` encodes them, around an
    /// `:authority`.
    fn call(authority: &str) -> Vec<u8> {
        let before = "8386459760a924882d9dcb6571afa066a925a87510ac6e48d36a3f";
        hex(&[before, authority, "40027465864d833505b11f"].concat())
    }

    #[test]
    fn a_coded_url_becomes_a_coded_host() {
        // Shows the bits: Go's code of `http://127.0.0.1:23791` becomes its code of
        // `httpB--127.0.0.1:23791`, and likewise for `https://etcd-0.example:2379`.
        let http = call("41909d29aee30c044eae05c0b86e09975f0f");
        assert_eq!(mended(&http), call("41909d29aeeacb044eae05c0b86e09975f0f"));
        let https = call("41949d29ad171860a9248b0172f91d35d05b8265d7ff");
        assert_eq!(mended(&https), call("41949d29ad175658a9248b0172f91d35d05b8265d7ff"));
        let host = call("41909d29aeeacb044eae05c0b86e09975f0f");
        assert_eq!(mended(&host), host);
    }

    #[test]
    fn fields_are_told_apart() {
        // Shows that only a value of `:authority` that begins with a scheme is touched: not other
        // fields, named by index or in letters, nor tables, nor long integers on the way.
        let other = [
            &[0x20, 0x3f, 0xe1, 0x1f, 0x82][..],
            &[0x44, 8],
            b"http://p",
            &[0x40, 1, b'x', 8],
            b"http://x",
            &[0x0f, 0x2f, 8],
            b"http://y",
        ]
        .concat();
        assert_eq!(mended(&other), other);
        let block = [&other[..], &[0x01, 9], b"https://a", &[0x41, 1], b"a"].concat();
        let expected = [&other[..], &[0x01, 9], b"httpsB--a", &[0x41, 1], b"a"].concat();
        assert_eq!(mended(&block), expected);
    }

    #[test]
    fn damaged_blocks_are_left_alone() {
        // Shows that nothing is read past the end, wherever a block is cut.
        let block = [&[0x41, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x80][..], b"http://a"].concat();
        assert_eq!(mended(&block), block);
        let whole = [&[0x40, 1, b'x', 1, b'y', 0x41, 8][..], b"http://a"].concat();
        for len in 0..whole.len() {
            assert_eq!(mended(&whole[..len]), &whole[..len]);
        }
    }
}
