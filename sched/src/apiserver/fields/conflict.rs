//! Fields that somebody else wants to be otherwise, and how that is told.

/// A field that an applied document would take from its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Conflict {
    /// Who has it: `"kubectl-edit" using apps/v1`.
    pub(in super::super) owner: String,
    /// `.spec.replicas`
    pub(in super::super) path: String,
}

impl Conflict {
    /// What clients print.
    pub(in super::super) fn message(conflicts: &[Self]) -> String {
        if let [one] = conflicts {
            return format!(
                "Apply failed with 1 conflict: conflict with {}: {}",
                one.owner, one.path
            );
        }
        let mut owners: Vec<&str> = conflicts.iter().map(|one| one.owner.as_str()).collect();
        owners.sort_unstable();
        owners.dedup();
        let mut lines = Vec::new();
        for owner in owners {
            lines.push(format!("conflicts with {owner}:"));
            let theirs = conflicts.iter().filter(|one| one.owner == owner);
            lines.extend(theirs.map(|one| format!("- {}", one.path)));
        }
        format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
    }
}
