//! gofail's terms: `panic`, `1*sleep("1s")->off`, `50%return(true)`.

use std::time::Duration;

use crate::config::go_duration_ns;

/// One link of a chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// All must allow it.
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// From 0 to 1.
    Chance(f64),
    /// So many times more.
    Times(u64),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// `off`, and `return`: no point of ours has code that a value would go to.
    Nothing,
    Sleep(Duration),
    /// What to say beside the name.
    Panic(Option<String>),
    Print,
}

/// What stands in the parentheses.
#[derive(Debug, PartialEq)]
enum Value {
    None,
    Number(u64),
    Text(String),
    Bool,
}

/// Reads `term->term->term`.
///
/// Stricter than gofail, which takes some broken terms for others; and `50%` may stand for `50.0%`.
///
/// # Errors
/// What of it is no term.
pub(super) fn parse(text: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let mut rest = text.trim();
    loop {
        let (term, after) = parse_term(rest).ok_or_else(|| format!("{rest:?} is no term"))?;
        terms.push(term);
        if after.is_empty() {
            return Ok(terms);
        }
        rest = after.strip_prefix("->").ok_or_else(|| format!("{after:?} should begin with ->"))?;
    }
}

/// What to do this time: the first term whose conditions all hold; `dice` gives numbers from 0 to 1.
pub(super) fn choose(terms: &mut [Term], mut dice: impl FnMut() -> f64) -> Option<Action> {
    let mut holds = |condition: &mut Condition| match condition {
        Condition::Chance(chance) => dice() <= *chance,
        Condition::Times(0) => false,
        Condition::Times(times) => {
            *times -= 1;
            true
        }
    };
    terms.iter_mut().find_map(|term| {
        let chosen = term.conditions.iter_mut().all(&mut holds);
        chosen.then(|| term.action.clone())
    })
}

fn parse_term(text: &str) -> Option<(Term, &str)> {
    let (conditions, rest) = parse_conditions(text)?;
    let word_end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
    let (word, rest) = rest.split_at(word_end);
    let (value, rest) = parse_value(rest)?;
    let action = match word {
        "off" | "return" => Action::Nothing,
        "sleep" => Action::Sleep(duration(&value)?),
        "panic" => Action::Panic(match value {
            Value::None => None,
            Value::Number(number) => Some(number.to_string()),
            Value::Text(text) => Some(text),
            Value::Bool => return None,
        }),
        "print" => Action::Print,
        // `break` would call a debugger of Go's.
        _ => return None,
    };
    Some((Term { conditions, action }, rest))
}

fn parse_conditions(mut rest: &str) -> Option<(Vec<Condition>, &str)> {
    let mut conditions = Vec::new();
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let condition = match after.chars().next()? {
            '%' => Condition::Chance(number.parse::<f64>().ok()? / 100.0),
            '*' => Condition::Times(number.parse().ok()?),
            _ => return None,
        };
        conditions.push(condition);
        rest = &after[1..];
    }
    Some((conditions, rest))
}

/// The value in parentheses, if there are any, and what follows it.
fn parse_value(text: &str) -> Option<(Value, &str)> {
    let Some(inside) = text.strip_prefix('(') else { return Some((Value::None, text)) };
    if let Some(quoted) = inside.strip_prefix('"') {
        let (content, rest) = quoted.split_once('"')?;
        let plain = !content.contains('\\');
        return plain.then_some((Value::Text(content.to_owned()), rest.strip_prefix(')')?));
    }
    let (content, rest) = inside.split_once(')')?;
    let value = match content {
        "" => Value::None,
        "true" | "false" => Value::Bool,
        number => Value::Number(number.parse().ok()?),
    };
    Some((value, rest))
}

/// A number is of milliseconds.
fn duration(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(ms) => Some(Duration::from_millis(*ms)),
        Value::Text(text) => u64::try_from(go_duration_ns(text)?).ok().map(Duration::from_nanos),
        Value::None | Value::Bool => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(action: Action) -> Term {
        Term { conditions: Vec::new(), action }
    }

    #[test]
    fn terms_are_read_as_gofail_reads_them() {
        // Proves each form of gofail's documentation against what it means.
        let sleep = |ms| plain(Action::Sleep(Duration::from_millis(ms)));
        let panic = |text: &str| plain(Action::Panic(Some(text.to_owned())));
        let when =
            |conditions: &[Condition], action| Term { conditions: conditions.into(), action };
        let cases = [
            ("panic", vec![plain(Action::Panic(None))]),
            ("panic()", vec![plain(Action::Panic(None))]),
            ("panic(\"no (more)\")", vec![panic("no (more)")]),
            ("sleep(1000)", vec![sleep(1000)]),
            ("sleep(\"1m0.5s\")", vec![sleep(60_500)]),
            ("off", vec![plain(Action::Nothing)]),
            ("return(true)", vec![plain(Action::Nothing)]),
            ("return(\"x->y\")->print", vec![plain(Action::Nothing), plain(Action::Print)]),
            ("50%panic", vec![when(&[Condition::Chance(0.5)], Action::Panic(None))]),
            ("40.0%return(7)", vec![when(&[Condition::Chance(0.4)], Action::Nothing)]),
            (
                "2*off->1*50.0%print\n",
                vec![
                    when(&[Condition::Times(2)], Action::Nothing),
                    when(&[Condition::Times(1), Condition::Chance(0.5)], Action::Print),
                ],
            ),
        ];
        for (text, terms) in cases {
            assert_eq!(parse(text), Ok(terms), "{text}");
        }
    }

    #[test]
    fn what_is_no_term_is_refused() {
        // Proves that nothing broken or unknown is taken for a term: a harness would wait in vain.
        let broken = [
            "",
            "panik",
            "panicked",
            "panic(",
            "panic(\"x)",
            "panic(true)",
            "sleep",
            "sleep(1s)",
            "sleep(\"1\")",
            "sleep(\"-1s\")",
            "sleep(true)",
            "panic->",
            "->panic",
            "panic;off",
            "panic>off",
            "5panic",
            "x%panic",
            "5.5*panic",
            "%panic",
            "99999999999999999999*off",
            "break",
            "panic(\"\\n\")",
            "50%",
            "PANIC",
        ];
        for text in broken {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_term_whose_conditions_hold_is_chosen() {
        // Proves the meaning of counts, chances and chains.
        let actions = |text: &str, dice: f64, times: usize| -> Vec<Option<Action>> {
            let mut terms = parse(text).unwrap();
            (0..times).map(|_| choose(&mut terms, || dice)).collect()
        };
        let off = Some(Action::Nothing);
        let print = Some(Action::Print);
        assert_eq!(actions("2*off->print", 0.0, 3), [off.clone(), off.clone(), print.clone()]);
        assert_eq!(actions("1*print", 0.0, 2), [print.clone(), None]);
        assert_eq!(actions("30%print", 0.31, 1), [None]);
        assert_eq!(actions("30%print->off", 0.31, 1), [off]);
        assert_eq!(actions("30%print", 0.29, 1), [print]);
    }
}
