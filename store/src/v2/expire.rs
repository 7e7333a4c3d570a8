//! The end of what has lived long enough.

use std::sync::Arc;

use api::berthpb::V2Expire;

use super::event::{Action, Event};
use super::tree::Tree;

impl Tree {
    /// Takes out nodes whose deadline has come, each under an index of its own; a directory with
    /// everything in it.
    pub(crate) fn expire(&mut self, expire: &V2Expire) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        while events.len() < expire.count_max as usize
            && let Some((deadline_ns, path)) = self.deadlines.first().cloned()
            && deadline_ns <= expire.now_ns
        {
            events.push(self.take_out(&path, Action::Expire, expire.now_ns));
        }
        events
    }
}
