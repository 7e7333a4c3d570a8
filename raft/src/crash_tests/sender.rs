//! The leader of another term, who sends a snapshot of its own.

use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use store::engine::MemEngine;
use store::{Options, Store};

use super::ledger::Link;
use super::member::{Member, log_id, next_index};
use crate::codec;
use crate::types::Payload;

/// A snapshot on its way.
pub(super) struct Sending {
    pub(super) term: u64,
    /// The last entry that is in it.
    pub(super) last: Arc<Link>,
    pieces: std::vec::IntoIter<Bytes>,
}

impl Sending {
    /// Of a leader that has what the member applied, `kept` more of its entries, and then its own
    /// of `payloads`, in `pieces` pieces. `None`: there would be nothing new in it.
    pub(super) fn begin(
        member: &mut Member,
        kept: u64,
        payloads: Vec<Payload>,
        pieces: usize,
    ) -> Option<Sending> {
        let applied = next_index(member.machine().1);
        let own = member.last()?.up_from(applied);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(own.len());
        let mut links = own[..kept].to_vec();
        let mut last = links.last().or(member.machine().1).cloned();
        let term = member.new_term();
        member.disk.with_ledger(|ledger| {
            for payload in payloads {
                let log_id = log_id(term, next_index(last.as_ref()));
                links.push(ledger.link(last.as_ref(), log_id, payload));
                last = links.last().cloned();
            }
        });
        let last = links.last()?.clone();
        let bytes = snapshot(member, &links);
        member.disk.with_ledger(|ledger| ledger.wrote(last.log_id, bytes.clone()));
        let pieces: Vec<Bytes> =
            bytes.chunks(bytes.len().div_ceil(pieces)).map(Bytes::copy_from_slice).collect();
        Some(Sending { term, last, pieces: pieces.into_iter() })
    }

    pub(super) fn next_piece(&mut self) -> Bytes {
        self.pieces.next().expect("it is not over")
    }

    pub(super) fn is_over(&self) -> bool {
        self.pieces.len() == 0
    }
}

/// The state of the member with `links` applied to it, as a file.
fn snapshot(member: &Member, links: &[Arc<Link>]) -> Vec<u8> {
    let (mut header, view) = member.machine().0.view().unwrap();
    let mut state = Vec::new();
    view.write_to(&mut state).unwrap();
    let engine = Arc::new(MemEngine::new());
    let mut store = Store::restore(engine, Options::default(), &mut &state[..]).unwrap();
    for link in links {
        let position = codec::position(&link.log_id);
        match &link.payload {
            // A refusal is an answer, too.
            EntryPayload::Normal(proposal) => drop(store.apply(position, proposal.command())),
            _ => store.advance(position, None),
        }
        header.meta.last_log_id = Some(link.log_id);
    }
    let mut bytes = header.encode();
    store.snapshot().write_to(&mut bytes).unwrap();
    bytes
}
