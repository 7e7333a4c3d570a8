//! How many pods of which version, in a rolling update: Kubernetes' arithmetic.

/// A version in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Wanted of it.
    pub(super) replicas: i32,
    /// Of those, at most.
    pub(super) available: i32,
}

/// What to want of the new version: as much as the surge permits.
///
/// `total`: wanted of all versions together.
pub(super) fn new_replicas(wanted: i32, surge: i32, new: i32, total: i32) -> i32 {
    if new >= wanted {
        return wanted;
    }
    let room = (wanted + surge - total).max(0);
    new + room.min(wanted - new)
}

/// What to want of each old version, the oldest first: what is not available goes at once, of the
/// rest as much as leaves enough.
pub(super) fn old_replicas(wanted: i32, unavailable: i32, new: Group, old: &[Group]) -> Vec<i32> {
    let total: i32 = new.replicas + old.iter().map(|group| group.replicas).sum::<i32>();
    let enough = wanted - unavailable;
    let mut spare = (total - enough - (new.replicas - new.available)).max(0);
    let mut after: Vec<i32> = old.iter().map(|group| group.replicas).collect();
    for (replicas, group) in after.iter_mut().zip(old) {
        let dead = (group.replicas - group.available).min(spare);
        *replicas -= dead;
        spare -= dead;
    }
    let available: i32 = new.available + old.iter().map(|group| group.available).sum::<i32>();
    let mut spare = (available - enough).max(0).min(spare);
    for (replicas, group) in after.iter_mut().zip(old) {
        let less = group.available.min(*replicas).min(spare);
        *replicas -= less;
        spare -= less;
    }
    after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn enough_stay_available_and_the_end_is_reached(
            wanted in 1_i32..30,
            surge in 0_i32..10,
            unavailable in 0_i32..10,
            start in prop::collection::vec(0_i32..15, 1..4),
            luck in prop::collection::vec(0_i32..4, 400),
        ) {
            // Proves for any start and any order in which pods become ready: never more pods than
            // the surge permits (beyond what was there), never fewer available than promised
            // (if so many were), and the new version alone in the end.
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable }.min(wanted);
            let enough = wanted - unavailable;
            let mut old: Vec<Group> =
                start.iter().map(|count| Group { replicas: *count, available: *count }).collect();
            let mut new = Group { replicas: 0, available: 0 };
            for luck in luck {
                let total = |old: &[Group], new: Group| {
                    new.replicas + old.iter().map(|group| group.replicas).sum::<i32>()
                };
                let available = |old: &[Group], new: Group| {
                    new.available + old.iter().map(|group| group.available).sum::<i32>()
                };
                let (total_before, available_before) = (total(&old, new), available(&old, new));
                new.replicas = new_replicas(wanted, surge, new.replicas, total_before);
                let after = old_replicas(wanted, unavailable, new, &old);
                for (group, replicas) in old.iter_mut().zip(after) {
                    prop_assert!(replicas <= group.replicas && replicas >= 0);
                    group.replicas = replicas;
                    group.available = group.available.min(replicas);
                }
                prop_assert!(total(&old, new) <= total_before.max(wanted + surge));
                prop_assert!(available(&old, new) >= available_before.min(enough));
                // Some more pods of the new version become ready, or one of them stops being so.
                new.available = match luck {
                    0 => (new.available - 1).max(0),
                    more => (new.available + more).min(new.replicas),
                };
            }
            new.available = new.replicas;
            let after = old_replicas(wanted, unavailable, new, &old);
            prop_assert_eq!(new.replicas, wanted);
            prop_assert!(after.iter().all(|replicas| *replicas == 0));
        }
    }
}
