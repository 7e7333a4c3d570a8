//! The store's clock: one main revision per changing command, sub revisions inside it.

/// When a version of a key was written: `main` counts commands, `sub` the writes of one command.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision {
    pub main: i64,
    pub sub: u32,
}

impl Revision {
    /// Length of the encoded form.
    pub const BYTES: usize = 12;

    pub const fn new(main: i64, sub: u32) -> Self {
        Revision { main, sub }
    }

    /// Twelve bytes, big endian, so that their order is the order of revisions (`main >= 0`).
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// What [`Revision::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Revision {
            main: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            sub: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_keep_the_order() {
        // Encoded revisions sort as the revisions do, and decode to what they were.
        let revisions = [(0, 0), (1, 0), (1, 7), (2, 0), (300, 1), (i64::MAX, u32::MAX)]
            .map(|(main, sub)| Revision::new(main, sub));
        let encoded = revisions.map(Revision::to_bytes);
        assert!(encoded.is_sorted());
        assert_eq!(encoded.map(Revision::from_bytes), revisions);
    }
}
