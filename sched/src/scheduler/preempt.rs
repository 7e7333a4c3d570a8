//! Making way: which less important pods have to go so that a pod fits.
//!
//! Nothing is done here. The pods are lifted from their node in the planner's own picture, as many
//! as possible are set down again, and the picture is as before in the end.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::classes::ClassId;
use super::explain::available;
use super::planner::Planner;
use super::pod::PodKey;
use super::select::{Labels, Selector};
use super::topology::Slot;
use super::verdict::Verdict;

/// Nodes that are compared. More would cost more than they improve.
const OPTIONS_MAX: usize = 100;

/// How many of some pods may be disturbed at this moment: what a PodDisruptionBudget allows.
#[derive(Clone, Debug)]
pub struct Budget {
    pub namespace: String,
    pub selector: Selector,
    pub allowed: i64,
}

/// A node, and those who must leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub node: Arc<str>,
    /// At least one, each with its uid.
    pub victims: Vec<(PodKey, Arc<str>)>,
}

/// What making way on a node would cost, and who would have to go.
type Way = (Cost, Vec<(PodKey, Arc<str>)>);

/// What it would cost to make way on a node: less is better, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    budgets_violated: usize,
    priority_highest: i32,
    priorities_sum: i64,
    victims: usize,
    /// Who started last has least to lose.
    started_s: Reverse<i64>,
    node: Arc<str>,
}

/// A pod that is lifted from its node.
struct Lifted {
    key: PodKey,
    node: Arc<str>,
    is_assumed: bool,
    priority: i32,
    created_s: i64,
    violates_budget: bool,
}

impl Planner {
    /// The cheapest way to make room for a pod that fits nowhere; room is not kept for it yet, see
    /// [`Self::nominate`].
    ///
    /// # Errors
    /// There is none, for the reason given.
    pub fn make_way(&mut self, key: &PodKey) -> Result<Preemption, String> {
        let known = self.cluster.pod(key).ok_or("the pod is gone")?;
        let (class, pinned) = (known.class, known.pinned.clone());
        let nominated = known.nominated.clone();
        let shape = self.cluster.classes.get(class).shape.clone();
        if !shape.preempts {
            return Err("not eligible due to preemptionPolicy=Never.".to_owned());
        }
        if nominated.is_some_and(|node| self.is_being_left(&node, shape.priority)) {
            return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
        }
        let slots: Vec<Slot> = match pinned {
            None => self.cluster.nodes().collect(),
            Some(names) => names.iter().filter_map(|name| self.cluster.slot(name)).collect(),
        };
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let unnamed = self.cluster.nodes_count() - slots.len();
        let mut options: Vec<Way> = Vec::new();
        const UNHELPFUL: &str = "Preemption is not helpful for scheduling";
        if unnamed > 0 {
            reasons.insert(UNHELPFUL.to_owned(), unnamed);
        }
        for slot in slots {
            if !self.verdict(class, slot).depends_on_pods() {
                *reasons.entry(UNHELPFUL.to_owned()).or_default() += 1;
            } else if let Some(option) = self.option(class, slot) {
                options.push(option);
                if options.len() == OPTIONS_MAX {
                    break;
                }
            } else {
                let none = "No preemption victims found for incoming pod".to_owned();
                *reasons.entry(none).or_default() += 1;
            }
        }
        let cheapest = options.into_iter().min_by(|one, other| one.0.cmp(&other.0));
        cheapest
            .map(|(cost, victims)| Preemption { node: cost.node, victims })
            .ok_or_else(|| available(self.cluster.nodes_count(), &reasons))
    }

    /// Keeps room for a pod on a node, from pods that are not more important.
    pub fn nominate(&mut self, key: &PodKey, node: Option<&str>) {
        self.cluster.nominate(key, node);
    }

    /// Whether a pod that had to make way on this node is still leaving it.
    fn is_being_left(&self, node: &str, priority: i32) -> bool {
        let state = self.cluster.slot(node).and_then(|slot| self.cluster.node(slot));
        state.into_iter().flat_map(|state| &state.pods).any(|key| {
            self.cluster.pod(key).is_some_and(|known| {
                let own = self.cluster.classes.get(known.class).shape.priority;
                known.is_terminating && own < priority
            })
        })
    }

    /// Who would have to leave this node, and what that would cost.
    fn option(&mut self, class: ClassId, slot: Slot) -> Option<Way> {
        let shape = self.cluster.classes.get(class).shape.clone();
        let state = self.cluster.node(slot)?;
        let (below, count) = state.below(shape.priority);
        let mut used = state.used.clone();
        used.subtract(&below);
        if count == 0 || shape.requests.lacking(&used, &state.info.allocatable).next().is_some() {
            return None;
        }
        let name = state.info.name.clone();
        let mut all = self.lift_below(slot, shape.priority);
        let mut victims = Vec::new();
        let is_enough = self.verdict(class, slot) == Verdict::Fits;
        for lifted in all.drain(..) {
            self.set_down(&lifted);
            if is_enough && self.verdict(class, slot) != Verdict::Fits {
                self.cluster.take(&lifted.key);
                victims.push(lifted);
            }
        }
        victims.iter().for_each(|lifted| self.set_down(lifted));
        let cost = cost(name, &victims)?;
        let named = victims.into_iter().filter_map(|lifted| {
            let uid = self.cluster.pod(&lifted.key)?.uid.clone();
            Some((lifted.key, uid))
        });
        Some((cost, named.collect()))
    }

    /// Lifts all less important pods from a node, those that should stay first in front.
    fn lift_below(&mut self, slot: Slot, priority: i32) -> Vec<Lifted> {
        let keys = self.cluster.node(slot).map(|state| state.pods.clone()).unwrap_or_default();
        let mut lifted: Vec<Lifted> = keys
            .into_iter()
            .filter_map(|key| {
                let known = self.cluster.pod(&key)?;
                let own = self.cluster.classes.get(known.class).shape.priority;
                (own < priority).then_some(Lifted {
                    node: known.node.clone()?,
                    is_assumed: known.is_assumed,
                    priority: own,
                    created_s: known.created_s,
                    violates_budget: false,
                    key,
                })
            })
            .collect();
        lifted.sort_by(|one, other| {
            let order = |of: &Lifted| (Reverse(of.priority), of.created_s);
            order(one).cmp(&order(other))
        });
        self.judge_by_budgets(&mut lifted);
        lifted.sort_by_key(|one| !one.violates_budget);
        lifted.iter().for_each(|one| self.cluster.take(&one.key));
        lifted
    }

    /// Finds those whose leaving no budget would allow, if all left.
    fn judge_by_budgets(&self, all: &mut [Lifted]) {
        let mut left: Vec<i64> = self.budgets.iter().map(|budget| budget.allowed).collect();
        for lifted in all {
            let Some(known) = self.cluster.pod(&lifted.key) else { continue };
            let shape = &self.cluster.classes.get(known.class).shape;
            for (budget, left) in self.budgets.iter().zip(&mut left) {
                if budget.covers(&shape.namespace, &shape.labels) {
                    *left -= 1;
                    lifted.violates_budget |= *left < 0;
                }
            }
        }
    }

    fn set_down(&mut self, lifted: &Lifted) {
        if lifted.is_assumed {
            self.cluster.assume(&lifted.key, &lifted.node);
        } else {
            self.cluster.put(&lifted.key, lifted.node.clone());
        }
    }
}

impl Budget {
    fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespace == namespace && self.selector.matches(labels)
    }
}

/// `None`: nobody has to go, or nothing would help.
fn cost(node: Arc<str>, victims: &[Lifted]) -> Option<Cost> {
    let highest = victims.iter().map(|lifted| lifted.priority).max()?;
    let of_highest = victims.iter().filter(|lifted| lifted.priority == highest);
    Some(Cost {
        budgets_violated: victims.iter().filter(|lifted| lifted.violates_budget).count(),
        priority_highest: highest,
        // Many of low priority cost more than few: each counts from the lowest one there is.
        priorities_sum: victims
            .iter()
            .map(|lifted| i64::from(lifted.priority) - i64::from(i32::MIN))
            .sum(),
        victims: victims.len(),
        started_s: Reverse(of_highest.map(|lifted| lifted.created_s).min().unwrap_or(0)),
        node,
    })
}
