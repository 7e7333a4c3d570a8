//! Whether all members hold the same: hashes of their keys at one revision, side by side.
//!
//! A member that holds something else has lost or changed what it had applied; every checksum on
//! the way would have to be right for that, so it should never be found. If it is, nobody knows
//! what else is wrong: the alarm that is raised refuses all writes, as in etcd, until the member is
//! replaced and the alarm disarmed by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use api::berthpb::command::Op;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{Command, HashAnswer, HashQuestion};
use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{AlarmRequest, AlarmType};
use futures::future::join_all;
use openraft::{AsyncRuntime, Instant};
use store::HashKv;

use super::Node;
use crate::error::Error;
use crate::leaders::Leader;

/// How long another member may take to read all of its keys.
const HASH_MAX: Duration = Duration::from_secs(120);

/// How long a member that is asked for a revision waits until it has it.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// What came of comparing the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All that could be compared hold the same.
    Equal,
    /// These hold something else than most; none are named if no majority of them agrees.
    Differ(Vec<u64>),
}

impl<R: AsyncRuntime> Node<R> {
    /// Compares all keys of all members that can be reached, as of this member's revision. Reads
    /// everything, on each of them.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`]; [`Error::Fatal`] if this member cannot read its own.
    pub async fn compare_members(&self) -> Result<Agreement, Error> {
        self.linearizable().await?;
        let own = self.hash_blocking(0).await?;
        let question = || Question::Hash(HashQuestion { revision: own.hash_revision });
        let members = self.members();
        let others = members.iter().map(|member| member.id).filter(|id| *id != self.member_id());
        let asked = others.map(|id| async move {
            match self.inner.network.ask(id, question(), HASH_MAX).await {
                Ok(Answer::Hash(answer)) if answer.error.is_empty() => Some((id, answer)),
                _ => None,
            }
        });
        let answers = join_all(asked).await.into_iter().flatten();
        // After another compaction it is the hash of something else.
        let comparable = answers.filter(|(_, answer)| {
            (answer.hash_revision, answer.compact_revision)
                == (own.hash_revision, own.compact_revision)
        });
        let hashes = comparable.map(|(id, answer)| (id, answer.hash));
        Ok(agreement(hashes.chain([(self.member_id(), own.hash)])))
    }

    /// Compares this member with the others, and lets it fail if it is the one that differs.
    ///
    /// # Errors
    /// Those of [`Node::compare_members`].
    pub async fn check_against_others(&self) -> Result<(), Error> {
        match self.compare_members().await? {
            Agreement::Equal => {}
            Agreement::Differ(members) if members.contains(&self.member_id()) => {
                self.inner.behind.failure.set(format!(
                    "this member ({:x}) holds other data than the majority of its cluster: remove \
                     it, and add it again with an empty data directory",
                    self.member_id()
                ));
            }
            Agreement::Differ(members) => {
                tracing::error!(members = %hex(&members), "members of the cluster hold other data");
            }
        }
        Ok(())
    }

    /// Compares the members every `interval` while this one leads, and raises the alarm. Ends with
    /// the node.
    pub(super) async fn watch_for_corruption(self, interval: Duration) {
        loop {
            R::sleep(interval).await;
            if self.check_alive().is_err() {
                return;
            }
            if self.inner.leaders.current() != Leader::Here {
                continue;
            }
            match self.compare_members().await {
                Ok(Agreement::Equal) => tracing::debug!("all members hold the same"),
                Ok(Agreement::Differ(members)) => self.raise_corrupt(members).await,
                Err(error) => tracing::warn!(%error, "the members could not be compared"),
            }
        }
    }

    /// For each of `members`; if there are none, for nobody in particular, as etcd does.
    async fn raise_corrupt(&self, mut members: Vec<u64>) {
        tracing::error!(members = %hex(&members), "members hold other data than the majority");
        if members.is_empty() {
            members.push(0);
        }
        for member_id in members {
            let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Corrupt as i32);
            let op = Op::Alarm(AlarmRequest { action, member_id, alarm });
            let raise = Command { principal: None, origin: None, op: Some(op) };
            if let Err(error) = self.propose_here(raise).await {
                tracing::warn!(%error, "the CORRUPT alarm could not be raised");
            }
        }
    }

    /// Answers another member, which has seen `revision` (0: any).
    pub(super) async fn hash_for(&self, question: HashQuestion) -> HashAnswer {
        let deadline = R::Instant::now() + CATCH_UP_MAX;
        while self.reader().revision() < question.revision && R::Instant::now() < deadline {
            R::sleep(LOOK).await;
        }
        match self.hash_blocking(question.revision).await {
            Ok(found) => HashAnswer {
                error: String::new(),
                hash: found.hash,
                compact_revision: found.compact_revision,
                hash_revision: found.hash_revision,
            },
            Err(error) => HashAnswer { error: error.to_string(), ..HashAnswer::default() },
        }
    }

    /// Reads everything, and holds up nobody.
    async fn hash_blocking(&self, revision: i64) -> Result<HashKv, Error> {
        let reader = self.reader();
        let hashed = R::spawn_blocking(move || reader.hash_kv(revision)).await;
        let hashed = hashed.map_err(|error| Error::Fatal(error.to_string()))?;
        hashed.map_err(|error| Error::Fatal(error.to_string()))
    }
}

/// Members by what they hold.
fn agreement(hashes: impl Iterator<Item = (u64, u32)>) -> Agreement {
    let mut groups: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (id, hash) in hashes {
        groups.entry(hash).or_default().push(id);
    }
    if groups.len() <= 1 {
        return Agreement::Equal;
    }
    let total: usize = groups.values().map(Vec::len).sum();
    let mut minority = Vec::new();
    let mut has_majority = false;
    for group in groups.into_values() {
        if 2 * group.len() > total {
            has_majority = true;
        } else {
            minority.extend(group);
        }
    }
    minority.sort_unstable();
    Agreement::Differ(if has_majority { minority } else { Vec::new() })
}

fn hex(members: &[u64]) -> String {
    members.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_is_right() {
        // Shows who is named when members differ, and that nobody is when none can be believed.
        let of = |hashes: &[(u64, u32)]| agreement(hashes.iter().copied());
        assert_eq!(of(&[(1, 7)]), Agreement::Equal);
        assert_eq!(of(&[(1, 7), (2, 7), (3, 7)]), Agreement::Equal);
        assert_eq!(of(&[(1, 7), (2, 8), (3, 7)]), Agreement::Differ(vec![2]));
        assert_eq!(of(&[(5, 1), (4, 2), (3, 7), (2, 7), (1, 7)]), Agreement::Differ(vec![4, 5]));
        assert_eq!(of(&[(1, 7), (2, 8)]), Agreement::Differ(vec![]));
    }
}
