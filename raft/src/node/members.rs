//! Who the members are.

use api::etcdserverpb::Member;
use openraft::AsyncRuntime;
use store::Reader;

use super::Node;
use crate::codec;

impl<R: AsyncRuntime> Node<R> {
    /// The members as of the applied log, by id: what Raft knows of each, and what each has
    /// published of itself.
    pub fn members(&self) -> Vec<Member> {
        members_of(&self.reader())
    }
}

/// The members that the state of `reader` names.
pub(crate) fn members_of(reader: &Reader) -> Vec<Member> {
    let stored = codec::decode_stored_membership(reader.membership().as_deref());
    let Ok(stored) = stored else { return Vec::new() };
    let membership = stored.membership();
    let published = reader.members();
    let member = |(id, peer): (&u64, &crate::types::Peer)| {
        let told = published.iter().find(|member| member.id == *id);
        Member {
            id: *id,
            name: told.map_or_else(|| peer.name.clone(), |told| told.name.clone()),
            peer_urls: peer.peer_urls.clone(),
            client_urls: told.map(|told| told.client_urls.clone()).unwrap_or_default(),
            is_learner: !peer.wants_vote && !membership.voter_ids().any(|voter| voter == *id),
        }
    };
    membership.nodes().map(member).collect()
}
