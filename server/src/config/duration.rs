//! Go's duration strings: `1h15m30.5s`, `300ms`, `0`.

/// Parses as Go's `time.ParseDuration` does; nanoseconds, possibly negative.
///
/// # Errors
/// `None` for anything Go refuses: no unit (except a bare `0`), unknown unit, overflow.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total_ns: i128 = 0;
    while !rest.is_empty() {
        let (part_ns, after) = part(rest)?;
        total_ns += part_ns;
        rest = after;
    }
    i64::try_from(if negative { -total_ns } else { total_ns }).ok()
}

/// One number with its unit, in nanoseconds, and what follows it.
fn part(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    // More digits than an i64 of nanoseconds can mean anything by.
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 {
        return None;
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit_ns = unit_ns(unit)?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut ns = whole * unit_ns;
    let mut scale = unit_ns;
    for digit in fraction.bytes() {
        scale /= 10;
        ns += i128::from(digit - b'0') * scale;
    }
    Some((ns, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_ns(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        // Shows that the forms of Go's own documentation come out in nanoseconds.
        let cases = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h15m30.918s", 4_530_918_000_000),
            ("300ms", 300_000_000),
            ("-1.5h", -5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("2us", 2_000),
            ("10m", 600_000_000_000),
        ];
        for (text, ns) in cases {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        // Shows that a number without a unit, an unknown unit and an overflow are errors.
        for text in ["", "5", "s", "1d", "-", ".", "1h 5m", "3000000h", "99999999999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
