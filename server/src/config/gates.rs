//! `--feature-gates`: etcd's switches for features on their way in or out.

/// What berth does with one gate.
enum Gate {
    /// Either value changes nothing; why.
    Either(&'static str),
    /// Only this value describes what berth does; why the other is refused.
    Only(bool, &'static str),
}

/// The one gate that switches something here.
pub(super) const INITIAL_CORRUPT_CHECK: &str = "InitialCorruptCheck";

const GATES: &[(&str, Gate)] = &[
    ("CompactHashCheck", Gate::Either("members are compared every --corrupt-check-time")),
    ("FastLeaseKeepAlive", Gate::Either("a keep-alive is always answered from memory")),
    (INITIAL_CORRUPT_CHECK, Gate::Either("compares a member with the others before it serves")),
    ("LeaseCheckpoint", Gate::Either(CHECKPOINTS)),
    ("LeaseCheckpointPersist", Gate::Either(CHECKPOINTS)),
    ("PriorityRequest", Gate::Only(false, "requests are admitted by bytes in flight alone")),
    (
        "SetMemberLocalAddr",
        Gate::Only(false, "members dial from the address that the system chooses"),
    ),
    ("StopGRPCServiceOnDefrag", Gate::Only(false, "defragmentation never stops the member")),
    ("TxnModeWriteWithSharedBuffer", Gate::Either("there are no buffers to share")),
];

const CHECKPOINTS: &str =
    "long leases are checkpointed every --lease-checkpoint-interval, 0 is never";

/// Reads `Name=true,Other=false`; the notes to log, one for each gate given.
///
/// # Errors
/// One line naming the gate: unknown, without a boolean, or asking for what is not there.
pub(super) fn check(text: &str) -> Result<Vec<String>, String> {
    text.split(',').filter(|item| !item.trim().is_empty()).map(|item| one(item.trim())).collect()
}

/// Whether a gate was turned on.
pub(super) fn is_on(text: &str, gate: &str) -> bool {
    let mut items = text.rsplit(',').filter_map(|item| item.split_once('='));
    let last = items.find(|(name, _)| name.trim() == gate);
    last.is_some_and(|(_, value)| super::value::parse_bool(value.trim()) == Some(true))
}

fn one(item: &str) -> Result<String, String> {
    let Some((name, value)) = item.split_once('=') else {
        return Err(format!("missing bool value for {item}"));
    };
    let Some(asked) = super::value::parse_bool(value.trim()) else {
        return Err(format!("invalid value of {name}={value}, it must be true or false"));
    };
    let Some((_, gate)) = GATES.iter().find(|(known, _)| *known == name.trim()) else {
        return Err(format!("unrecognized feature gate: {name}"));
    };
    match gate {
        Gate::Only(is, reason) if *is != asked => {
            Err(format!("feature gate {name}={asked} is not supported by berth: {reason}"))
        }
        Gate::Only(_, reason) | Gate::Either(reason) => Ok(format!("{name}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_known_or_refused_by_name() {
        // Shows the three refusals, and that harmless gates leave a note.
        assert_eq!(check("Nope=true").unwrap_err(), "unrecognized feature gate: Nope");
        assert!(check("CompactHashCheck").unwrap_err().contains("CompactHashCheck"));
        assert!(check("PriorityRequest=true").unwrap_err().contains("not supported by berth"));
        assert_eq!(check("LeaseCheckpoint=false,CompactHashCheck=true").unwrap().len(), 2);
        assert!(check("").unwrap().is_empty());
    }
}
