//! A deployment that is scaled in the middle of a rollout: every version gets its share, so that
//! the risk stays as it was.

use super::Rollout;
use super::sets::{self, Set};

/// A version in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    replicas: i32,
    /// What all versions together could have when this one was last scaled.
    max_then: i32,
}

/// New sizes so that all together have `allowed`; the order is that in which what is left over is
/// given out.
fn share_out(parts: &[Part], allowed: i32) -> Vec<i32> {
    let total: i32 = parts.iter().map(|part| part.replicas).sum();
    let to_add = allowed - total;
    let mut left = to_add;
    let mut after: Vec<i32> = parts
        .iter()
        .map(|part| {
            let fair = i64::from(part.replicas) * i64::from(allowed);
            let then = i64::from(part.max_then.max(1));
            // Rounded to the nearest.
            let fair = i32::try_from((fair + then / 2) / then).unwrap_or(i32::MAX);
            let change = fair - part.replicas;
            let change = if to_add > 0 { change.clamp(0, left) } else { change.clamp(left, 0) };
            left -= change;
            part.replicas + change
        })
        .collect();
    for replicas in &mut after {
        let change = left.max(-*replicas);
        *replicas += change;
        left -= change;
    }
    after
}

impl Rollout<'_> {
    /// Whether another number of replicas was asked for than when the sets were last scaled.
    pub(super) fn was_scaled(&self) -> bool {
        let active = self.new.iter().chain(&self.old).filter(|set| set.replicas() > 0);
        let wanted = self.wanted();
        active.filter_map(|set| sets::scale_then(&set.before.metadata).0).any(|then| then != wanted)
    }

    pub(super) fn scale_in_proportion(&mut self) {
        let (wanted, surge) = (self.wanted(), self.room().surge);
        let is_recreate = self.is_recreate();
        let mut all: Vec<&mut Set<'_>> = self.new.iter_mut().chain(&mut self.old).collect();
        let active = all.iter().filter(|set| set.replicas() > 0).count();
        if active <= 1 {
            // The one that has pods, or the newest.
            let at = all.iter().position(|set| set.replicas() > 0).or(match all.len() {
                0 => None,
                _ => Some(0),
            });
            if let Some(at) = at {
                all[at].scale(wanted);
            }
        } else if !is_recreate {
            all.retain(|set| set.replicas() > 0);
            let allowed = if wanted > 0 { wanted + surge } else { 0 };
            let grows = allowed > all.iter().map(|set| set.replicas()).sum();
            all.sort_by_cached_key(|set| {
                let created = set.before.metadata.creation_timestamp.clone();
                let age = created.map_or(0, |time| time.0.as_second());
                // The largest first; the newest of equals grows first and shrinks last.
                (-set.replicas(), if grows { -age } else { age })
            });
            let parts: Vec<_> = all.iter().map(|set| part(set, allowed)).collect();
            for (set, replicas) in all.iter_mut().zip(share_out(&parts, allowed)) {
                set.scale(replicas);
            }
        }
        for set in self.new.iter_mut().chain(&mut self.old).filter(|set| set.replicas() > 0) {
            sets::mark_scale(&mut set.after.metadata, wanted, surge);
        }
    }
}

fn part(set: &Set<'_>, allowed: i32) -> Part {
    let max_then = sets::scale_then(&set.before.metadata).1.unwrap_or(allowed);
    Part { replicas: set.replicas(), max_then }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_keep_their_proportion() {
        // Proves Kubernetes' own example: 10 replicas with surge 3 in the ratio 8 to 5 are scaled
        // to 15: 11 and 7.
        let parts = [Part { replicas: 8, max_then: 13 }, Part { replicas: 5, max_then: 13 }];
        assert_eq!(share_out(&parts, 18), [11, 7]);
        assert_eq!(share_out(&parts, 0), [0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_below_zero(
            sizes in prop::collection::vec(1_i32..50, 1..6),
            allowed in 0_i32..200,
        ) {
            // Proves that the parts make up exactly what is allowed, for any sizes.
            let max_then = sizes.iter().sum();
            let parts: Vec<_> =
                sizes.iter().map(|size| Part { replicas: *size, max_then }).collect();
            let after = share_out(&parts, allowed);
            prop_assert_eq!(after.iter().sum::<i32>(), allowed);
            prop_assert!(after.iter().all(|replicas| *replicas >= 0));
        }
    }
}
