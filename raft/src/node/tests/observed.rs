//! Whoever learns from what is applied.

use std::sync::Arc;

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::LeaseRevokeRequest;
use parking_lot::Mutex;
use store::{Applied, Error};

use super::home::{Home, process, write};
use crate::{AppliedObserver, Observe};

#[derive(Default)]
struct Seen(Mutex<Vec<(i64, Option<Error>)>>);

impl Observe for Seen {
    fn applied(&self, command: &Command, applied: &Applied, _again: bool) {
        if !matches!(command.op, Some(Op::PublishMember(_))) {
            self.0.lock().push((applied.revision, applied.result.clone().err()));
        }
    }

    fn replaced(&self) {
        panic!("no snapshot is installed here");
    }
}

#[test]
fn every_command_is_told_before_its_answer() {
    // Proves that an observer has seen a command, its refusal too, when its proposer is answered,
    // and that a start that applies the log again tells it again.
    let mut home = Home::new();
    let seen = Arc::new(Seen::default());
    home.config.on_applied = Some(AppliedObserver(seen.clone()));
    let expected = [(2, None), (2, Some(Error::LeaseNotFound)), (3, None)];
    process().block_on(async {
        let node = home.start().await.unwrap();
        write(&node, "k", "1").await;
        assert_eq!(*seen.0.lock(), expected[..1]);
        let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: 7 });
        let revoke = Command { op: Some(revoke), ..Command::default() };
        assert!(node.propose(revoke).await.unwrap().result.is_err());
        write(&node, "k", "2").await;
        assert_eq!(*seen.0.lock(), expected);
        node.shutdown().await;
    });
    home.engines.lose();
    seen.0.lock().clear();
    process().block_on(async {
        let node = home.start().await.unwrap();
        assert_eq!(*seen.0.lock(), expected);
        node.shutdown().await;
    });
}
