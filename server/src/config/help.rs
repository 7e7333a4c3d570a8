//! The list of flags, as `--help` prints it.

use std::fmt::Write as _;

use super::table::{Disposition, GROUPS};

/// Follows a complaint about the command line.
pub const FLAGS_HINT: &str = "Usage: berth serve [flags]; `berth serve --help` lists them.";

/// The names of all flags that do something.
pub fn names() -> impl Iterator<Item = &'static str> {
    let flags = GROUPS.iter().flat_map(|group| group.flags);
    let supported = flags.filter(|flag| matches!(flag.disposition, Disposition::Supported(_)));
    supported.map(|flag| flag.name)
}

/// The whole help text.
pub fn text() -> String {
    let mut text = String::from(
        "Usage: berth serve [flags]\n\n\
         Each flag may also be given as ETCD_NAME in the environment or as a key of the file\n\
         named by --config-file. --experimental-x means --x.\n",
    );
    for group in GROUPS {
        let _ = write!(text, "\n{}:\n", group.title);
        for flag in group.flags {
            let what = match flag.disposition {
                Disposition::Supported(help) => help.to_owned(),
                Disposition::Accepted(reason) => format!("taken without effect: {reason}"),
                Disposition::Refused(reason) => format!("not supported: {reason}"),
            };
            let _ = write!(text, "  --{} '{}'\n      {what}\n", flag.name, flag.default);
        }
    }
    text
}
