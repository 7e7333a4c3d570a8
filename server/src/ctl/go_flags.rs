//! Flags that are true or false, as Go's programs take them: alone, or with `=true` and `=false`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

/// Reads `words` as a command line; its first word is the program's name, unless the command has none.
///
/// # Errors
/// clap's.
pub(crate) fn parse<P: CommandFactory + FromArgMatches>(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<P, clap::Error> {
    let mut command = with_values(P::command());
    let matches = command.try_get_matches_from_mut(words)?;
    P::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The command, and all below it, with flags that take a value if one is there.
pub(crate) fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("true|false")
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .value_parser(truth)
}

/// As Go's `strconv.ParseBool`.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::Ctl;

    #[test]
    fn flags_may_have_values_as_in_go() {
        // Proves both spellings, that a word apart is no value, and that others are refused.
        let parsed =
            |line: &str| parse::<Ctl>(line.split(' ')).map(|ctl| format!("{:?}", ctl.verb));
        let alone = parsed("ctl get --prefix k").unwrap();
        assert_eq!(parsed("ctl get --prefix=true k").unwrap(), alone);
        assert_eq!(parsed("ctl get --prefix=T k --keys-only=false").unwrap(), alone);
        assert_ne!(parsed("ctl get --prefix=false k").unwrap(), alone);
        assert!(parsed("ctl get --prefix true").unwrap().contains("true"), "it is the key");
        assert!(parsed("ctl get --prefix=maybe k").is_err());
        with_values(Ctl::command()).debug_assert();
    }
}
