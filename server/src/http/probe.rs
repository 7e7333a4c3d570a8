//! What the HTTP endpoints need to know of the member, and nothing else: so that they can be tested
//! without one.

use std::future::Future;

use api::etcdserverpb::AlarmType;

/// A view of this member. Cheap to clone.
pub trait Probe: Clone + Send + Sync + 'static {
    /// The alarms that are raised in the cluster.
    fn alarms(&self) -> Vec<AlarmType>;

    fn has_leader(&self) -> bool;

    fn is_learner(&self) -> bool;

    /// Reads one key, from this member alone (`serializable`) or after the cluster has agreed on
    /// where it stands. The error is etcd's text.
    fn read(&self, serializable: bool) -> impl Future<Output = Result<(), String>> + Send;
}
