//! Numbers that may be percentages.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a share of replicas is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// `2` or `25%` of `total`. What is no number counts as none.
pub(crate) fn share(value: Option<&IntOrString>, total: i32, round: Round) -> Option<i32> {
    match value? {
        IntOrString::Int(count) => Some((*count).max(0)),
        IntOrString::String(text) => match text.strip_suffix('%') {
            Some(percent) => {
                let part = i64::from(percent.trim().parse::<u16>().ok()?) * i64::from(total);
                let rounded = if round == Round::Up { (part + 99) / 100 } else { part / 100 };
                i32::try_from(rounded).ok()
            }
            None => text.trim().parse::<i32>().ok().map(|count| count.max(0)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_as_they_are_told() {
        // Proves percentages both ways, plain numbers, and that nonsense is none.
        let text = |text: &str| Some(IntOrString::String(text.into()));
        for (value, round, expected) in [
            (text("25%"), Round::Up, Some(2)),
            (text("25%"), Round::Down, Some(1)),
            (text("100%"), Round::Down, Some(5)),
            (Some(IntOrString::Int(3)), Round::Up, Some(3)),
            (Some(IntOrString::Int(-3)), Round::Up, Some(0)),
            (text("some"), Round::Up, None),
            (None, Round::Up, None),
        ] {
            assert_eq!(share(value.as_ref(), 5, round), expected, "{value:?}");
        }
    }
}
