//! Ids of members on the command line: hexadecimal, refused in the words of Go's `strconv.ParseUint`.

use std::num::IntErrorKind;

use super::quote::quote;

/// # Errors
/// Go's text for what is no such number.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let refused = |why| format!("strconv.ParseUint: parsing {}: {why}", quote(text.as_bytes()));
    // Go takes no sign.
    if text.starts_with('+') {
        return Err(refused("invalid syntax"));
    }
    u64::from_str_radix(text, 16).map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow => refused("value out of range"),
        _ => refused("invalid syntax"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_by_go() {
        // Proves the numbers, and the two refusals, which are etcdctl's.
        assert_eq!(parse("8e9E05c52164694d"), Ok(0x8e9e_05c5_2164_694d));
        let refused = |text: &str| parse(text).unwrap_err();
        for text in ["", "xyz", "+1", "-1", "0x1", "1_0", " 1"] {
            let words = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
            assert_eq!(refused(text), words);
        }
        let long = "11111111111111111";
        let words = format!("strconv.ParseUint: parsing \"{long}\": value out of range");
        assert_eq!(refused(long), words);
    }
}
