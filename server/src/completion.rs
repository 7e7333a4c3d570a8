//! `berth completion SHELL`: a script that completes commands and flags.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, Command, Parser};
use clap_complete::Shell;

use crate::{config, ctl, discovery, mirror, snapshot};

/// Prints a script that completes berth's commands and flags: put it where the shell looks for such,
/// or source it.
#[derive(Debug, Parser)]
#[command(name = "berth completion", disable_version_flag = true)]
struct Completion {
    shell: Shell,
}

/// Runs `berth completion ARGS`; `args` are those after `completion`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("berth completion"));
    match Completion::try_parse_from(name.chain(args)) {
        Ok(completion) => {
            print(completion.shell, command(), "berth");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Printing help can only fail when nobody reads it.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()) * 2)
        }
    }
}

/// Prints the script for a program that is called `name`.
pub(crate) fn print(shell: Shell, mut command: Command, name: &str) {
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
}

/// All that `berth` understands.
fn command() -> Command {
    let under = |command: Command, name: &'static str| command.name(name);
    Command::new("berth")
        .subcommand(serve())
        .subcommand(under(ctl::command(), "ctl"))
        .subcommand(under(mirror::command(), "mirror"))
        .subcommand(under(snapshot::command(), "snapshot"))
        .subcommands(discovery::commands().map(|(name, command)| under(command, name)))
        .subcommand(Command::new("completion").arg(Arg::new("shell").value_parser(SHELLS)))
        .subcommand(Command::new("version"))
}

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn serve() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    Command::new("serve").about("Runs the server").args(config::flag_names().map(flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_completed() {
        // Proves that the tree is consistent, and that commands and flags of each kind are in it.
        command().debug_assert();
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut command(), "berth", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in [
            "--listen-client-urls",
            "move-leader",
            "--dest-prefix",
            "datascale",
            "restore",
            "template",
            "--skip-hash-check",
            "version",
        ] {
            assert!(script.contains(word), "{word}");
        }
    }
}
