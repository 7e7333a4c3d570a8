//! Go's `%q` quoting of byte strings, which etcdctl's output and transaction syntax use.

use std::fmt::Write;

/// Quotes `bytes` as Go's `%q` does: printable text stays, the rest is escaped.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut quoted, c));
        for byte in chunk.invalid() {
            push(&mut quoted, format_args!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}

fn push_char(quoted: &mut String, c: char) {
    match c {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0c' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x0b' => quoted.push_str("\\v"),
        c if (c as u32) < 0x80 && c.is_control() => {
            push(quoted, format_args!("\\x{:02x}", c as u32));
        }
        c if c.is_control() || (c.is_whitespace() && c != ' ') => {
            push(quoted, format_args!("\\u{:04x}", c as u32));
        }
        c => quoted.push(c),
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

/// Reads a Go string literal (`"..."` or `` `...` ``) at the start of `text`; returns its bytes
/// and what follows it. `None` when there is no complete literal.
pub(super) fn unquote_prefix(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (literal, rest) = raw.split_once('`')?;
        return Some((literal.as_bytes().to_vec(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((bytes, rest)),
            '\\' => rest = unescape(rest, &mut bytes)?,
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let c = text.chars().next()?;
    let rest = &text[c.len_utf8()..];
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        '\'' => b'\'',
        'x' => return number(rest, 2, bytes),
        'u' => return number(rest, 4, bytes),
        'U' => return number(rest, 8, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

/// Reads `digits` hex digits: one byte when two, a code point otherwise.
fn number<'a>(text: &'a str, digits: usize, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let value = u32::from_str_radix(text.get(..digits)?, 16).ok()?;
    if digits == 2 {
        bytes.push(u8::try_from(value).ok()?);
    } else {
        bytes.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text.get(digits..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the escapes that Go prints, taken from a Go program's output.
    #[test]
    fn quotes_as_go() {
        assert_eq!(quote(b"a\"\\\n\x00\x7f"), r#""a\"\\\n\x00\x7f""#);
        assert_eq!(quote("h\u{e9}llo".as_bytes()), "\"h\u{e9}llo\"");
        assert_eq!(quote(&[0xff, b'a']), r#""\xffa""#);
    }

    /// Proves that what is quoted reads back, and that an open literal is refused.
    #[test]
    fn unquotes_what_it_quotes() {
        let bytes = b"a \"b\" \\ \n \xff \x00".to_vec();
        let text = quote(&bytes) + ") rest";
        assert_eq!(unquote_prefix(&text), Some((bytes, ") rest")));
        assert_eq!(unquote_prefix("\"open"), None);
        assert_eq!(unquote_prefix("`raw\\n` x"), Some((b"raw\\n".to_vec(), " x")));
    }
}
