//! The scheduler: which node a pod goes to.
//!
//! The planner is pure: it is told of nodes and pods, keeps sums and counts of them, and answers
//! where a pod goes, whom it may displace, or why it goes nowhere. No clock, no chance, no store.
//! Around it is a thin executor that follows the store, writes each decision as one transaction
//! which fails if the pod or the node have changed, and says of pods that wait what they wait for.
//!
//! It must never decide by what it cannot know to be complete: a binding compares the revision up to
//! which all bindings to the node were known, so any number of schedulers may run at once.
//!
//! Start at [`planner`], then [`candidates`], which is what makes it fast.

pub mod bind;
mod candidates;
mod classes;
mod cluster;
mod domains;
mod explain;
mod lanes;
mod log;
mod news;
mod node;
pub mod planner;
pub mod pod;
pub mod preempt;
pub mod quantity;
pub mod queue;
pub mod resources;
mod run;
pub mod score;
pub mod select;
mod spread;
pub mod taints;
mod tell;
mod terms;
mod topology;
mod verdict;
mod write;

pub use planner::{Placement, Planner};
pub use pod::PodKey;
pub use preempt::{Budget, Preemption};
pub use run::{Settings, run};
pub use score::Strategy;

#[cfg(test)]
mod tests;
