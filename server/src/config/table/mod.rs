//! Every flag that etcd knows, and what berth does with it. Parsing, environment, file, help and
//! the notices at start all read this one table.
//!
//! Invariant: a flag is supported, or accepted with a written reason why it changes nothing, or
//! refused by name. None is ignored without a word.

mod clustering;
mod member;
mod observability;
mod retired;
mod security;

use super::value::Kind;

/// One flag, also `ETCD_` + its name in upper case, and a key of the config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// The value when nobody sets it; setting it to just this is always allowed.
    pub default: &'static str,
    pub disposition: Disposition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It does what it does in etcd; what that is, in a few words.
    Supported(&'static str),
    /// It has no meaning here and does no harm; why.
    Accepted(&'static str),
    /// The server does not start with it; why.
    Refused(&'static str),
}

/// One section of the help text.
pub(super) struct Group {
    pub title: &'static str,
    pub flags: &'static [Flag],
}

pub(super) static GROUPS: &[Group] = &[
    Group { title: "Member", flags: member::FLAGS },
    Group { title: "Clustering", flags: clustering::FLAGS },
    Group { title: "Security", flags: security::FLAGS },
    Group { title: "Logging and monitoring", flags: observability::FLAGS },
    Group { title: "Of older etcd versions", flags: retired::FLAGS },
];

/// Finds a flag by its present name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

pub(super) fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

const fn supported(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, disposition: Disposition::Supported(help) }
}

const fn accepted(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    reason: &'static str,
) -> Flag {
    Flag { name, kind, default, disposition: Disposition::Accepted(reason) }
}

const fn refused(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    reason: &'static str,
) -> Flag {
    Flag { name, kind, default, disposition: Disposition::Refused(reason) }
}

#[cfg(test)]
mod tests;
