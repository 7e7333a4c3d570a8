//! Quantities as Kubernetes writes them: `250m`, `1.5Gi`, `12e6`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Billionths: the smallest suffix is `n`.
const SCALE: i128 = 1_000_000_000;

/// Whole units, rounded up as Kubernetes does. `None`: not a quantity, or negative.
pub fn units(quantity: &Quantity) -> Option<i64> {
    round_up(parse(&quantity.0)?, SCALE)
}

/// Thousandths of a unit, rounded up. `None`: not a quantity, or negative.
pub fn milli_units(quantity: &Quantity) -> Option<i64> {
    round_up(parse(&quantity.0)?, SCALE / 1000)
}

fn round_up(billionths: i128, unit: i128) -> Option<i64> {
    if billionths < 0 {
        return None;
    }
    Some(i64::try_from((billionths + unit - 1) / unit).unwrap_or(i64::MAX))
}

/// In billionths; what is finer is rounded up, what is larger than any machine is capped.
fn parse(text: &str) -> Option<i128> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.len() + fraction.len() == 0 {
        return None;
    }
    let mantissa = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let (factor, divisor) = multiplier(suffix)?;
    let numerator = mantissa.checked_mul(SCALE).and_then(|scaled| scaled.checked_mul(factor));
    let denominator = 10i128.checked_pow(places)?.checked_mul(divisor)?;
    let value = match numerator {
        Some(numerator) => numerator.checked_add(denominator - 1)? / denominator,
        None => i128::from(i64::MAX) * SCALE,
    };
    Some(if is_negative { -value } else { value })
}

/// What a suffix multiplies by, and divides by.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 1));
    let decimal = |power: u32| Some((10i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let power = digits.parse::<i32>().ok()?.clamp(-18, 18);
            let ten = 10i128.pow(power.unsigned_abs());
            Some(if power < 0 { (1, ten) } else { (ten, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        // Proves suffixes, exponents, fractions that are rounded up, and what is no quantity.
        for (text, wanted) in [
            ("1", Some(1)),
            ("250m", Some(1)),
            ("1.5Gi", Some(1_610_612_736)),
            ("128974848", Some(128_974_848)),
            ("129e6", Some(129_000_000)),
            ("129M", Some(129_000_000)),
            ("123Mi", Some(128_974_848)),
            ("2E", Some(2_000_000_000_000_000_000)),
            ("100E", Some(i64::MAX)),
            ("0.5k", Some(500)),
            ("-1", None),
            ("", None),
            ("m", None),
            ("1.2.3", None),
            ("1GiB", None),
            ("99999999999999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(units(&Quantity(text.to_owned())), wanted, "{text}");
        }
        assert_eq!(milli_units(&Quantity("0.0001".to_owned())), Some(1));
        assert_eq!(milli_units(&Quantity("2".to_owned())), Some(2000));
    }
}
