//! What kinds of values flags take, with Go's readings of them.

use super::{duration, urls};

/// The type of a flag, as etcd declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// Unsigned, with the largest value its field holds.
    Uint(u64),
    Int,
    Duration,
    Text,
    /// Text that must be one of these.
    Choice(&'static [&'static str]),
    /// Takes any value or none, as the flags that etcd itself ignores.
    Anything,
    /// Comma-separated URLs.
    Urls,
    /// Comma-separated words.
    Words,
}

pub(super) const UINT: Kind = Kind::Uint(u64::MAX);
pub(super) const UINT32: Kind = Kind::Uint(u32::MAX as u64);

impl Kind {
    /// Whether the flag may stand alone; its value then needs a `=`.
    pub fn stands_alone(self) -> bool {
        matches!(self, Self::Bool | Self::Anything)
    }

    /// The value in the one spelling used inside: `true`, decimal, nanoseconds with `ns`.
    ///
    /// # Errors
    /// The text that Go's flag package or etcd's own flag types give for the same value.
    pub fn canonical(self, value: &str) -> Result<String, String> {
        match self {
            Self::Bool => parse_bool(value).map(|b| b.to_string()).ok_or_else(parse_error),
            Self::Uint(max) => parse_uint(value, max).map(|n| n.to_string()),
            Self::Int => parse_int(value).map(|n| n.to_string()),
            Self::Duration => {
                duration::parse(value).map(|ns| format!("{ns}ns")).ok_or_else(parse_error)
            }
            Self::Text | Self::Words | Self::Anything => Ok(value.to_owned()),
            Self::Choice(words) if words.contains(&value) => Ok(value.to_owned()),
            Self::Choice(_) => Err("invalid value".to_owned()),
            Self::Urls => urls::parse_list(value).map(|_| value.to_owned()),
        }
    }
}

fn parse_error() -> String {
    "parse error".to_owned()
}

/// Go's `strconv.ParseBool`.
pub(super) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.ParseUint` with base 0: decimal, `0x`, `0o` or leading 0, `0b`, underscores.
fn parse_uint(value: &str, max: u64) -> Result<u64, String> {
    let (digits, radix) = match value.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&value[2..], 16),
        [b'0', b'o' | b'O', ..] => (&value[2..], 8),
        [b'0', b'b' | b'B', ..] => (&value[2..], 2),
        [b'0', _, ..] => (&value[1..], 8),
        _ => (value, 10),
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(parse_error());
    }
    match u64::from_str_radix(&digits, radix) {
        Ok(number) if number <= max => Ok(number),
        _ => Err("value out of range".to_owned()),
    }
}

fn parse_int(value: &str) -> Result<i64, String> {
    let out_of_range = |_| "value out of range".to_owned();
    match value.strip_prefix('-') {
        Some(digits) => {
            let magnitude = parse_uint(digits, i64::MIN.unsigned_abs())?;
            i64::try_from(-i128::from(magnitude)).map_err(out_of_range)
        }
        None => {
            let digits = value.strip_prefix('+').unwrap_or(value);
            i64::try_from(parse_uint(digits, u64::MAX)?).map_err(out_of_range)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        // Shows the bases, the bounds and the two error texts of Go's flag package.
        assert_eq!(UINT.canonical("0x10"), Ok("16".into()));
        assert_eq!(UINT.canonical("1_000"), Ok("1000".into()));
        assert_eq!(UINT.canonical("010"), Ok("8".into()));
        assert_eq!(UINT.canonical("-1"), Err("parse error".into()));
        assert_eq!(UINT32.canonical("4294967296"), Err("value out of range".into()));
        assert_eq!(Kind::Int.canonical("-9223372036854775808"), Ok(i64::MIN.to_string()));
        assert_eq!(Kind::Int.canonical("9223372036854775808"), Err("value out of range".into()));
    }

    #[test]
    fn one_spelling_inside() {
        // Shows that two spellings of one value compare equal.
        assert_eq!(Kind::Bool.canonical("T"), Kind::Bool.canonical("true"));
        assert_eq!(Kind::Duration.canonical("1m"), Kind::Duration.canonical("60s"));
        assert_eq!(Kind::Choice(&["new"]).canonical("old"), Err("invalid value".into()));
    }
}
