//! Amounts of resources, compared exactly.

use serde_json::Value;

/// A quantity in millionths of a millionth; `None`: it is none.
pub(super) fn parse(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse_text(text),
        Value::Number(number) => parse_text(&number.to_string()),
        _ => None,
    }
}

const UNIT: i128 = 1_000_000_000_000;
/// Digits in front of the suffix; more do not fit.
const DIGITS_MAX: usize = 20;

fn parse_text(text: &str) -> Option<i128> {
    let is_number = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '+' | '-');
    let end = text.find(|letter| !is_number(letter)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let value = decimal(number)?;
    let binary = |power: u32| value.checked_mul(1_i128.checked_shl(10 * power)?);
    let tens = |power: i32| match u32::try_from(power) {
        Ok(power) => value.checked_mul(10_i128.checked_pow(power)?),
        Err(_) => Some(value / 10_i128.checked_pow(power.unsigned_abs())?),
    };
    match suffix {
        "" => Some(value),
        "n" => tens(-9),
        "u" => tens(-6),
        "m" => tens(-3),
        "k" => tens(3),
        "M" => tens(6),
        "G" => tens(9),
        "T" => tens(12),
        "P" => tens(15),
        "E" => tens(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => tens(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// A decimal number in units.
fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.chars().all(|letter| letter.is_ascii_digit());
    let is_empty = whole.is_empty() && fraction.is_empty();
    if is_empty || whole.len() > DIGITS_MAX || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut value =
        if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(UNIT)? };
    let mut place = UNIT;
    for digit in fraction.chars().take(12) {
        place /= 10;
        value += place * i128::from(digit.to_digit(10)?);
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_exactly() {
        // Proves the suffixes, fractions and exponents, and what is no quantity.
        let parse = |text: &str| parse(&text.into());
        for (left, right) in [
            ("1", "1000m"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("0.1", "100m"),
            (".5", "500m"),
            ("1E", "1000P"),
            ("-1", "-1000m"),
        ] {
            assert!(parse(left).is_some());
            assert_eq!(parse(left), parse(right), "{left} {right}");
        }
        assert!(parse("1Gi") > parse("1G"));
        for text in ["", "Gi", "1 Gi", "1gb", "1.2.3", "--1", "1e99", "999999999999999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
