//! Kubernetes' amounts: `500m`, `64Mi`, `1e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 9] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// In thousandths, rounded up. `None`: it is no amount, or below 0.
pub(crate) fn millis(quantity: &Quantity) -> Option<u64> {
    rounded(value(&quantity.0)? * 1000.0)
}

/// In whole units, rounded up.
pub(crate) fn units(quantity: &Quantity) -> Option<u64> {
    rounded(value(&quantity.0)?)
}

fn value(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some((power, number)) = (1..)
        .zip(BINARY)
        .find_map(|(power, suffix)| text.strip_suffix(suffix).map(|number| (power, number)))
    {
        return Some(number.parse::<f64>().ok()? * 1024_f64.powi(power));
    }
    // `1E3` is an exponent, `1E` a suffix.
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (power, number) = DECIMAL
        .iter()
        .find_map(|(suffix, power)| text.strip_suffix(suffix).map(|number| (*power, number)))?;
    Some(number.parse::<f64>().ok()? * 10_f64.powi(power))
}

fn rounded(value: f64) -> Option<u64> {
    // Thousandths are not exact in binary.
    const NOISE: f64 = 1e-6;
    let is_sane = value.is_finite() && (0.0..=9.2e18).contains(&value);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    is_sane.then(|| (value - NOISE).ceil().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        // Proves suffixes of both kinds, fractions, exponents, and that nonsense is none.
        let millis = |text: &str| millis(&Quantity(text.into()));
        let units = |text: &str| units(&Quantity(text.into()));
        assert_eq!(
            (millis("500m"), millis("1.5"), millis("0.1")),
            (Some(500), Some(1500), Some(100))
        );
        assert_eq!(
            (units("64Mi"), units("1G"), units("1e3")),
            (Some(64 << 20), Some(1_000_000_000), Some(1000))
        );
        assert_eq!((units("100m"), units("0"), units("1Ei")), (Some(1), Some(0), Some(1 << 60)));
        assert_eq!((units("x"), units("-1"), units(""), units("1 Mi")), (None, None, None, None));
    }
}
