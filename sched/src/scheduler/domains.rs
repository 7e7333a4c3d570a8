//! What the domains of a node say: affinity between pods, and topology spread.
//!
//! The same questions are asked of a node about its small domains (a host name) and of a bucket of
//! nodes about its large ones (a zone): see [`super::candidates`].

use super::classes::Class;
use super::cluster::Cluster;
use super::score::FULL;
use super::spread::Spreading;
use super::terms::{Term, TermId};
use super::topology::{DomainId, TopologyId};
use super::verdict::Verdict;

/// Where the nodes in question are.
pub(super) enum Place {
    /// Somebody else asks about this key.
    NotHere,
    /// They lack the label.
    Nowhere,
    In(DomainId),
}

/// Looks up where the nodes in question are, by key.
pub(super) type Places<'a> = &'a dyn Fn(TopologyId) -> Place;

/// Questions about domains, of pods of one class.
pub(super) struct Domains<'a> {
    pub cluster: &'a Cluster,
    pub class: &'a Class,
    pub spreading: &'a [Spreading],
    /// Nobody is there yet whom such a pod must be beside, and it would be its own company.
    pub is_first: bool,
}

impl Domains<'_> {
    pub(super) fn verdict(&self, places: Places<'_>) -> Verdict {
        let spread = self.spread(places);
        if spread != Verdict::Fits {
            return spread;
        }
        for id in &self.class.affinity {
            match self.place(*id, places) {
                Some((_, Place::Nowhere)) => return Verdict::PodAffinity,
                Some((term, Place::In(domain))) if term.matching(domain) == 0 && !self.is_first => {
                    return Verdict::PodAffinity;
                }
                _ => {}
            }
        }
        let has = |id: TermId, count: fn(&Term, DomainId) -> i64| match self.place(id, places) {
            Some((term, Place::In(domain))) => count(term, domain) > 0,
            _ => false,
        };
        if self.class.anti_affinity.iter().any(|id| has(*id, Term::matching)) {
            return Verdict::PodAntiAffinity;
        }
        if self.class.matches.iter().any(|id| has(*id, Term::keeping_out)) {
            return Verdict::ExistingAntiAffinity;
        }
        Verdict::Fits
    }

    fn spread(&self, places: Places<'_>) -> Verdict {
        let mut verdict = Verdict::Fits;
        for spreading in self.spreading.iter().filter(|spreading| spreading.is_required) {
            match places(spreading.topology) {
                Place::Nowhere => return Verdict::SpreadLabel,
                Place::In(domain) if !spreading.has_room(domain) => verdict = Verdict::Spread,
                _ => {}
            }
        }
        verdict
    }

    /// The points that the domains add.
    pub(super) fn points(&self, places: Places<'_>) -> i64 {
        let mut points = 0;
        let total: i64 = self.class.shape.preferred.iter().map(|(weight, _)| weight.abs()).sum();
        for (id, (weight, _)) in self.class.preferred.iter().zip(&self.class.shape.preferred) {
            if let Some((term, Place::In(domain))) = self.place(*id, places) {
                let there = term.matching(domain);
                // More are better, or worse, but ever less so.
                points += FULL * weight * there / ((1 + there) * total.max(1));
            }
        }
        for id in &self.class.matches {
            if let Some((term, Place::In(domain))) = self.place(*id, places) {
                let wanting = term.wanting(domain).clamp(-FULL, FULL);
                points += FULL * wanting / (wanting.abs() + 50);
            }
        }
        for spreading in self.spreading.iter().filter(|spreading| !spreading.is_required) {
            if let Place::In(domain) = places(spreading.topology) {
                points += spreading.points(domain);
            }
        }
        points
    }

    fn place(&self, id: TermId, places: Places<'_>) -> Option<(&Term, Place)> {
        let term = self.cluster.terms.get(id)?;
        Some((term, places(term.topology)))
    }
}
