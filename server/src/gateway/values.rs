//! Where one JSON value ends and the next begins, while the text still comes in.
//!
//! It counts brackets and knows strings, no more: whether what lies between is JSON is judged when
//! it is read.

/// The state after the bytes so far, of one value.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    depth: usize,
    kind: Option<Kind>,
    in_string: bool,
    escaped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An object, an array or a string: it says where it ends.
    Closed,
    /// A number, or a word: it ends where something else begins.
    Bare,
}

impl Scanner {
    /// Takes a piece of text. The number of bytes that end the value, or `None` if it goes on.
    pub(super) fn take(&mut self, text: &[u8]) -> Option<usize> {
        for (at, byte) in text.iter().enumerate() {
            if self.kind == Some(Kind::Bare) && (byte.is_ascii_whitespace() || opens(*byte)) {
                return Some(at);
            }
            self.step(*byte);
            if self.kind == Some(Kind::Closed) && self.depth == 0 && !self.in_string {
                return Some(at + 1);
            }
        }
        None
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            byte if byte.is_ascii_whitespace() => return,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        let kind = if opens(byte) { Kind::Closed } else { Kind::Bare };
        self.kind.get_or_insert(kind);
    }
}

fn opens(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `text`, which comes in pieces of `size`; what is left at its end is one.
    fn split(text: &str, size: usize) -> Vec<String> {
        let (mut values, mut value, mut scanner) = (Vec::new(), String::new(), Scanner::default());
        for piece in text.as_bytes().chunks(size) {
            let mut piece = std::str::from_utf8(piece).unwrap();
            while let Some(end) = scanner.take(piece.as_bytes()) {
                value.push_str(&piece[..end]);
                values.push(std::mem::take(&mut value).trim().to_owned());
                scanner = Scanner::default();
                piece = &piece[end..];
            }
            value.push_str(piece);
        }
        values.extend(Some(value.trim().to_owned()).filter(|rest| !rest.is_empty()));
        values
    }

    #[test]
    fn values_are_told_apart_however_they_come_in() {
        // Shows brackets and quotes in strings, no space between values, and an unfinished end.
        let text = " {\"a\":\"}\\\"{\"}[1,[2]]\n\"x\" 12 true{\"b\":{}}]{\"un";
        let expected =
            ["{\"a\":\"}\\\"{\"}", "[1,[2]]", "\"x\"", "12", "true", "{\"b\":{}}", "]", "{\"un"];
        for size in 1..text.len() {
            assert_eq!(split(text, size), expected, "in pieces of {size}");
        }
    }
}
