//! Who this member is: from its data directory, from the cluster that it joins, or from the flags
//! of a new one.
//!
//! Nothing is written here. What a member was at its first start it stays, whatever its flags say
//! later; so everything that may be wrong at the first start has to be found before it.

use std::sync::Arc;
use std::time::Duration;

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{Envelope, IdentityAnswer, IdentityQuestion, PeerRequest};
use api::etcdserverpb;
use futures::future::join_all;
use raft::peer::{Purpose, Route, Transport};

use crate::config::{InitialCluster, Member, Settings, join_urls};

/// How long another member may take to say who it is.
const ASK_TIME_MAX: Duration = Duration::from_secs(2);
/// How often the members of a running cluster are asked, until one answers.
const JOIN_ATTEMPTS: u32 = 15;
const JOIN_PAUSE: Duration = Duration::from_secs(1);

/// Who this member is: `members` are those to begin with, none if it may not begin a new cluster.
///
/// # Errors
/// One line: the flags contradict each other and there is no data yet; or the cluster that was
/// found is not the one that was meant, or does not know this member, or knows it too well.
pub(super) async fn identify(
    settings: &Settings,
    transport: &Arc<dyn Transport>,
) -> Result<InitialCluster, String> {
    let found = raft::identity_in(&settings.wal_dir()).map_err(|error| error.to_string())?;
    if let Some((cluster_id, member_id)) = found {
        return Ok(as_before(cluster_id, member_id, settings));
    }
    let initial = settings.initial_cluster.clone()?;
    let others = Others { settings, initial: &initial, transport };
    if settings.new_cluster {
        others.check_new().await?;
        return Ok(initial);
    }
    let found = others.find_cluster().await?;
    let member_id = others.matching(&found.members)?.id;
    Ok(InitialCluster { cluster_id: found.cluster_id, member_id, members: Vec::new() })
}

/// Initialized or not, a member's first members are those of its flags, if they are still the same.
fn as_before(cluster_id: u64, member_id: u64, settings: &Settings) -> InitialCluster {
    match &settings.initial_cluster {
        Ok(initial) if (initial.cluster_id, initial.member_id) == (cluster_id, member_id) => {
            initial.clone()
        }
        _ => InitialCluster { cluster_id, member_id, members: Vec::new() },
    }
}

/// The others whom the flags name.
struct Others<'a> {
    settings: &'a Settings,
    initial: &'a InitialCluster,
    transport: &'a Arc<dyn Transport>,
}

impl Others<'_> {
    /// Whoever of the others runs already must be of the same new cluster, and must not have met this
    /// member before: then it has lost its disk.
    async fn check_new(&self) -> Result<(), String> {
        let answers = self.ask().await;
        let strange =
            answers.iter().filter(|(_, it)| it.cluster_id != self.initial.cluster_id).count();
        // One stranger who begins at the same time is its own problem.
        let outnumbered = strange > (self.initial.members.len() - 1) / 2;
        for (urls, answer) in answers {
            if answer.cluster_id != self.initial.cluster_id {
                if !outnumbered && !is_formed(&answer) {
                    tracing::warn!(urls, "a member of another cluster is at this address");
                    continue;
                }
                return Err(format!(
                    "{urls} is of cluster {:x}, and this member would begin cluster {:x}: its \
                     --initial-cluster or --initial-cluster-token differs, or it should join with \
                     --initial-cluster-state=existing",
                    answer.cluster_id, self.initial.cluster_id
                ));
            }
            let known = answer.members.iter().find(|member| member.id == self.initial.member_id);
            if known.is_some_and(|member| !member.client_urls.is_empty()) {
                return Err(format!(
                    "member {:x} has already been bootstrapped, but {} is empty: a member that lost \
                     its data cannot go on as the same. Remove it from the cluster, add it anew, and \
                     start it with --initial-cluster-state=existing",
                    self.initial.member_id,
                    self.settings.data_dir.display()
                ));
            }
            if known.is_none() && !answer.members.is_empty() {
                return Err(format!(
                    "the cluster at {urls} has no member {:x} (any more): add it, and start it with \
                     --initial-cluster-state=existing",
                    self.initial.member_id
                ));
            }
        }
        Ok(())
    }

    /// The cluster as one of its members describes it.
    async fn find_cluster(&self) -> Result<IdentityAnswer, String> {
        if self.initial.members.len() < 2 {
            return Err(
                "--initial-cluster-state=existing needs the other members in --initial-cluster, to \
                 learn the cluster from them"
                    .to_owned(),
            );
        }
        for attempt in 0..JOIN_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(JOIN_PAUSE).await;
            }
            let answers = self.ask().await;
            let met =
                answers.into_iter().map(|(_, answer)| answer).find(|it| !it.members.is_empty());
            if let Some(answer) = met {
                return Ok(answer);
            }
            tracing::warn!("no member of the cluster to join answers yet");
        }
        Err("cannot fetch cluster info from peer urls: could not retrieve cluster information from \
             the given URLs"
            .to_owned())
    }

    /// Everyone in --initial-cluster but this member who says who it is.
    async fn ask(&self) -> Vec<(String, IdentityAnswer)> {
        let others = self.initial.members.iter().filter(|member| member.name != self.settings.name);
        let asked = others.map(|member| async move {
            let urls: Vec<String> = member.peer_urls.iter().map(ToString::to_string).collect();
            let link = self.transport.link(Route::to_urls(&urls), Purpose::Requests);
            let envelope = Envelope { cluster_id: self.initial.cluster_id, ..Envelope::default() };
            let request = PeerRequest {
                envelope: Some(envelope),
                question: Some(Question::Identity(IdentityQuestion {})),
            };
            match link.call(request, ASK_TIME_MAX).await.ok()?.answer {
                Some(Answer::Identity(answer)) => Some((join_urls(&member.peer_urls), answer)),
                _ => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// This member in the cluster, by its peer URLs. All others must be named as well.
    fn matching<'a>(
        &self,
        members: &'a [etcdserverpb::Member],
    ) -> Result<&'a etcdserverpb::Member, String> {
        if members.len() != self.initial.members.len() {
            return Err(format!(
                "error validating peerURLs: member count is unequal: the cluster has {} members, \
                 --initial-cluster names {}",
                members.len(),
                self.initial.members.len()
            ));
        }
        let mut own = None;
        for named in &self.initial.members {
            let found = members.iter().find(|member| same_urls(named, member)).ok_or_else(|| {
                format!(
                    "error validating peerURLs: unmatched member: the cluster has no member at {} \
                     ({}): add it first (`berth ctl member add`)",
                    join_urls(&named.peer_urls),
                    named.name
                )
            })?;
            if named.name == self.settings.name {
                own = Some(found);
            }
        }
        let own =
            own.ok_or_else(|| format!("{} is not in --initial-cluster", self.settings.name))?;
        if own.client_urls.is_empty() {
            return Ok(own);
        }
        Err(format!(
            "member {:x} has run before, but {} is empty: a member that lost its data cannot go on as \
             the same. Remove it from the cluster and add it anew",
            own.id,
            self.settings.data_dir.display()
        ))
    }
}

/// Whether somebody led it: only then have its members told where their clients reach them.
fn is_formed(answer: &IdentityAnswer) -> bool {
    answer.members.iter().any(|member| !member.client_urls.is_empty())
}

fn same_urls(named: &Member, member: &etcdserverpb::Member) -> bool {
    let mut urls: Vec<String> = named.peer_urls.iter().map(ToString::to_string).collect();
    let mut known = member.peer_urls.clone();
    urls.sort();
    known.sort();
    urls == known
}
