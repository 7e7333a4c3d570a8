//! Finds the messages in a body: each is one byte of flags, four of length, and the payload.

/// Where in a body we are.
#[derive(Default)]
pub(super) struct Frames {
    header: [u8; 5],
    header_len: usize,
    payload_left: usize,
}

impl Frames {
    /// Takes the next bytes; how many messages begin and how many payload bytes pass in them.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> (u64, u64) {
        let (mut messages, mut payload) = (0, 0);
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let passing = self.payload_left.min(bytes.len());
                self.payload_left -= passing;
                payload += passing as u64;
                bytes = &bytes[passing..];
                continue;
            }
            self.header[self.header_len] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if self.header_len == self.header.len() {
                let [_, a, b, c, d] = self.header;
                self.payload_left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.header_len = 0;
                messages += 1;
            }
        }
        (messages, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        // Shows that every way of cutting a body gives the same counts.
        let body = [0, 0, 0, 0, 3, 7, 7, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9];
        for size in 1..=body.len() {
            let mut frames = Frames::default();
            let (mut messages, mut payload) = (0, 0);
            for piece in body.chunks(size) {
                let (more, bytes) = frames.take(piece);
                messages += more;
                payload += bytes;
            }
            assert_eq!((messages, payload), (3, 4), "pieces of {size}");
        }
    }
}
