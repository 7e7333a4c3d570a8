//! Who may speak to this member, and whom this member means when it speaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::berthpb::refusal::Reason;
use api::berthpb::{Envelope, Refusal};
use parking_lot::RwLock;
use store::Reader;

use crate::codec;

/// Who this member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// Of its data directory; 0 in one that an older version made.
    pub(crate) incarnation: u64,
}

/// What is known, from the applied log, of those who are or were members. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Roster {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    removed: BTreeSet<u64>,
    /// By member id; only of those that have told it.
    incarnations: BTreeMap<u64, u64>,
}

impl Roster {
    /// Takes over what the applied state says.
    pub(crate) fn follow(&self, reader: &Reader) -> std::io::Result<()> {
        let removed = codec::decode_removed(reader.membership().as_deref())?;
        let published = reader.published().into_iter();
        let incarnations = published
            .filter(|it| it.incarnation != 0)
            .filter_map(|it| Some((it.member?.id, it.incarnation)))
            .collect();
        *self.known.write() = Known { removed, incarnations };
        Ok(())
    }

    pub(crate) fn is_removed(&self, id: u64) -> bool {
        self.known.read().removed.contains(&id)
    }

    /// 0: not known.
    fn incarnation(&self, id: u64) -> u64 {
        self.known.read().incarnations.get(&id).copied().unwrap_or(0)
    }
}

impl Identity {
    /// To be put on everything that this member says to member `to` (0: whoever it is).
    pub(crate) fn envelope(&self, roster: &Roster, to: u64) -> Envelope {
        Envelope {
            cluster_id: self.cluster_id,
            from: self.member_id,
            to,
            incarnation: self.incarnation,
            to_incarnation: roster.incarnation(to),
        }
    }

    /// Whether what came in `envelope` may be looked at.
    pub(crate) fn check(&self, roster: &Roster, envelope: &Envelope) -> Result<(), Refusal> {
        let Envelope { cluster_id, from, to, .. } = *envelope;
        if cluster_id != self.cluster_id {
            return refused(
                Reason::WrongCluster,
                format!(
                    "cluster {:x} is here, and member {from:x} is of cluster {cluster_id:x}: check \
                     initial-cluster and initial-cluster-token of both",
                    self.cluster_id
                ),
            );
        }
        if to != self.member_id && to != 0 {
            let own = self.member_id;
            let message = format!("member {own:x} listens here, and not {to:x}: check peer URLs");
            return refused(Reason::WrongMember, message);
        }
        if roster.is_removed(from) {
            let message = format!("member {from:x} was removed from the cluster");
            return refused(Reason::Removed, message);
        }
        self.check_disks(roster, envelope)
    }

    /// A member that lost its disk has forgotten whom it voted for and what it acknowledged: it
    /// must not go on as the member that it was.
    fn check_disks(&self, roster: &Roster, envelope: &Envelope) -> Result<(), Refusal> {
        let differ = |known: u64, told: u64| known != 0 && told != 0 && known != told;
        if differ(roster.incarnation(envelope.from), envelope.incarnation) {
            refused(Reason::DiskLost, disk_lost(envelope.from))
        } else if differ(self.incarnation, envelope.to_incarnation) {
            refused(Reason::DiskLostHere, disk_lost(self.member_id))
        } else {
            Ok(())
        }
    }
}

fn disk_lost(id: u64) -> String {
    format!(
        "member {id:x} has another data directory than the one it was a member with: remove it \
         from the cluster and add it anew"
    )
}

fn refused(reason: Reason, message: String) -> Result<(), Refusal> {
    Err(Refusal { reason: reason.into(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(member_id: u64) -> Identity {
        Identity { cluster_id: 0xc1, member_id, incarnation: member_id + 100 }
    }

    fn known(removed: &[u64], incarnations: &[(u64, u64)]) -> Roster {
        let removed = removed.iter().copied().collect();
        let incarnations = incarnations.iter().copied().collect();
        Roster { known: Arc::new(RwLock::new(Known { removed, incarnations })) }
    }

    #[test]
    fn only_the_intended_member_of_the_intended_cluster_listens() {
        // Proves each refusal, and that a stranger is listened to: a new member is one to a member
        // that lags behind.
        let (one, two) = (identity(1), identity(2));
        let nobody = Roster::default();
        let check = |roster: &Roster, envelope: Envelope| {
            two.check(roster, &envelope).map_err(|refusal| refusal.reason())
        };
        let right = one.envelope(&nobody, 2);
        assert_eq!(check(&nobody, right), Ok(()));
        assert_eq!(check(&nobody, one.envelope(&nobody, 0)), Ok(()));
        assert_eq!(check(&nobody, one.envelope(&nobody, 3)), Err(Reason::WrongMember));
        let foreign = Identity { cluster_id: 0xc2, ..one }.envelope(&nobody, 2);
        assert_eq!(check(&nobody, foreign), Err(Reason::WrongCluster));
        assert_eq!(check(&known(&[1], &[]), right), Err(Reason::Removed));
        assert_eq!(check(&known(&[3], &[]), right), Ok(()));
    }

    #[test]
    fn a_lost_disk_shows_from_both_sides() {
        // Proves that a member with another data directory is neither listened to nor spoken to,
        // and that one of unknown origin is.
        let (one, two) = (identity(1), identity(2));
        let check = |roster: &Roster, envelope: Envelope| {
            two.check(roster, &envelope).map_err(|refusal| refusal.reason())
        };
        let same = known(&[], &[(1, 101), (2, 102)]);
        assert_eq!(check(&same, one.envelope(&same, 2)), Ok(()));
        let before = known(&[], &[(1, 7), (2, 102)]);
        assert_eq!(check(&before, one.envelope(&same, 2)), Err(Reason::DiskLost));
        let other = known(&[], &[(2, 7)]);
        assert_eq!(check(&same, one.envelope(&other, 2)), Err(Reason::DiskLostHere));
        let old = Identity { incarnation: 0, ..one };
        assert_eq!(check(&before, old.envelope(&same, 2)), Ok(()));
    }
}
