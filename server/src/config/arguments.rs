//! The command line, as Go's flag package reads it: one dash or two, `-flag value`, `-flag=value`,
//! booleans alone or with `=`. No argument parser crate speaks that dialect, and unit files do.

use std::ffi::OsString;

use super::values::{SetError, Values};
use super::{aliases, table};

/// How reading the command line ended, if not in values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Help,
    /// A word that is no flag where one was expected.
    NotAFlag(String),
    /// Everything else: the line Go prints before the usage.
    Usage(String),
}

/// Reads all arguments into values.
pub(super) fn read(arguments: Vec<OsString>, values: &mut Values) -> Result<(), Stop> {
    let mut words = arguments.into_iter();
    while let Some(word) = words.next() {
        let word = text(word)?;
        let Some(body) = flag_body(&word) else {
            return match words.next() {
                None if word == "--" => Ok(()),
                Some(next) if word == "--" => Err(Stop::NotAFlag(text(next)?)),
                _ => Err(Stop::NotAFlag(word)),
            };
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(Stop::Usage(format!("bad flag syntax: {word}")));
        }
        let Some(stands_alone) = stands_alone(name) else {
            return Err(match name {
                "help" | "h" => Stop::Help,
                _ => Stop::Usage(format!("flag provided but not defined: -{name}")),
            });
        };
        let value = match value {
            Some(value) => value,
            None if stands_alone => "true".to_owned(),
            None => match words.next() {
                Some(next) => text(next)?,
                None => return Err(Stop::Usage(format!("flag needs an argument: -{name}"))),
            },
        };
        values.set(name, &value).map_err(|error| refusal(name, &value, stands_alone, error))?;
    }
    Ok(())
}

fn text(word: OsString) -> Result<String, Stop> {
    word.into_string().map_err(|word| Stop::Usage(format!("argument is not UTF-8: {word:?}")))
}

/// What follows the dashes; `None` for a word that is no flag.
fn flag_body(word: &str) -> Option<&str> {
    match word.strip_prefix("--") {
        Some("") => None,
        Some(body) => Some(body),
        None => word.strip_prefix('-').filter(|body| !body.is_empty()),
    }
}

/// Whether the flag may stand without a value; `None` if it is unknown.
fn stands_alone(name: &str) -> Option<bool> {
    match table::find(name) {
        Some(flag) => Some(flag.kind.stands_alone()),
        None => match aliases::resolve(name)? {
            aliases::Meaning::Flag(flag) => Some(flag.kind.stands_alone()),
            aliases::Meaning::Gate(_) => Some(true),
        },
    }
}

fn refusal(name: &str, value: &str, boolean: bool, error: SetError) -> Stop {
    let why = match error {
        SetError::Unknown => return Stop::Usage(format!("flag provided but not defined: -{name}")),
        SetError::Invalid(why) => why,
    };
    Stop::Usage(if boolean {
        format!("invalid boolean value {value:?} for -{name}: {why}")
    } else {
        format!("invalid value {value:?} for flag -{name}: {why}")
    })
}
