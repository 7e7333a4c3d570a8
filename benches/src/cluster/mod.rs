//! Processes of one kind on loopback that form a cluster. They end with the measurement, however
//! that ends.
//!
//! Start at [`Cluster`]; one process is in `member.rs`, what its memory and its metrics say in
//! `inside.rs`.

mod inside;
mod member;

use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::MemberAddRequest;
use api::etcdserverpb::cluster_client::ClusterClient;
use futures::future::join_all;
use tempfile::TempDir;

use crate::server::Subject;
use crate::setting::Setting;

pub(crate) use inside::Memory;
pub(crate) use member::Member;

/// How long a cluster may take to form or to elect, or a member to catch up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at a state that is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// A member that is no further behind has caught up: under load all are always behind a little.
pub(crate) const BEHIND_MAX: u64 = 100;
const VOTERS: usize = 3;

pub(crate) struct Cluster {
    pub(crate) name: String,
    subject: Subject,
    flags: Vec<String>,
    pub(crate) members: Vec<Member>,
    // Last: the members are gone when it is removed.
    directory: TempDir,
}

/// When a member was killed: from before the signal to when the process was gone.
pub(crate) struct Death {
    pub(crate) signalled: Instant,
    pub(crate) gone: Instant,
}

impl Cluster {
    /// Starts three members with `flags` and waits until one leads.
    pub(crate) async fn start(
        subject: &Subject,
        setting: &Setting,
        flags: &[&str],
    ) -> Result<Self, Box<dyn Error>> {
        let directory = directory(subject, setting)?;
        let members = (1..=VOTERS).map(|number| Member::new(number, directory.path()));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (name, subject) = (subject.name.clone(), subject.clone());
        let mut cluster = Self { name, subject, flags, members, directory };
        let initial = cluster.initial();
        for place in 0..VOTERS {
            cluster.members[place].form(initial.clone(), "new");
            cluster.launch(place)?;
        }
        cluster.leader().await?;
        for place in 0..VOTERS {
            cluster.caught_up(place).await?;
        }
        Ok(cluster)
    }

    fn initial(&self) -> String {
        let named = |member: &Member| format!("{}={}", member.name, member.peer_url);
        self.members.iter().map(named).collect::<Vec<_>>().join(",")
    }

    /// Starts the member at `place`, anew or again.
    pub(crate) fn launch(&mut self, place: usize) -> Result<(), Box<dyn Error>> {
        let mut command = self.subject.command();
        command.args(&self.flags);
        self.members[place].start(command)
    }

    /// Kills the member at `place` with SIGKILL.
    pub(crate) fn kill(&mut self, place: usize) -> Result<Death, Box<dyn Error>> {
        let signalled = Instant::now();
        self.members[place].kill()?;
        Ok(Death { signalled, gone: Instant::now() })
    }

    /// Adds a learner, starts it, and returns its place without waiting for it.
    pub(crate) async fn join(&mut self) -> Result<usize, Box<dyn Error>> {
        let mut member = Member::new(self.members.len() + 1, self.directory.path())?;
        let request =
            MemberAddRequest { peer_urls: vec![member.peer_url.clone()], is_learner: true };
        let (leader, _) = self.leader().await?;
        ClusterClient::new(self.members[leader].channel()).member_add(request).await?;
        member.form(format!("{},{}={}", self.initial(), member.name, member.peer_url), "existing");
        self.members.push(member);
        let place = self.members.len() - 1;
        self.launch(place)?;
        Ok(place)
    }

    /// Who leads, as it says itself: its place and all ids by place (0: it does not answer).
    pub(crate) async fn leader(&self) -> Result<(usize, Vec<u64>), Box<dyn Error>> {
        self.patiently("no leader", async || {
            let (mut ids, mut leader) = (Vec::new(), None);
            let statuses = join_all(self.members.iter().map(Member::status)).await;
            for (place, status) in statuses.into_iter().enumerate() {
                let says = status.map(|status| (status.header.unwrap_or_default(), status.leader));
                let id = says.as_ref().map_or(0, |(header, _)| header.member_id);
                if says.is_some_and(|(_, leader)| leader == id) {
                    leader = Some(place);
                }
                ids.push(id);
            }
            leader.map(|place| (place, ids))
        })
        .await
    }

    /// Waits until the member at `place` has applied what the others have, but for
    /// [`BEHIND_MAX`] entries, and knows of a leader.
    pub(crate) async fn caught_up(&self, place: usize) -> Result<(), Box<dyn Error>> {
        self.patiently("a member has not caught up", async || {
            let statuses = join_all(self.members.iter().map(Member::status)).await;
            let applied = |place: usize| statuses[place].as_ref().map(|s| s.raft_applied_index);
            let others = (0..statuses.len()).filter(|other| *other != place).filter_map(applied);
            let led = statuses[place].as_ref().is_some_and(|status| status.leader != 0);
            let reached = applied(place)? + BEHIND_MAX >= others.max()?;
            (led && reached).then_some(())
        })
        .await
    }

    /// The index that the member at `place` has applied; 0 if it does not answer.
    pub(crate) async fn applied(&self, place: usize) -> u64 {
        self.members[place].status().await.map_or(0, |status| status.raft_applied_index)
    }

    /// Snapshots that the members at `places` have sent since each was started.
    pub(crate) async fn snapshots_sent(&self, places: &[usize]) -> usize {
        let sent = places.iter().map(|&place| self.members[place].count(inside::SNAPSHOTS_SENT));
        join_all(sent).await.iter().sum()
    }

    /// Looks again and again until there is an answer.
    async fn patiently<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T, Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(found) = look().await {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
        let words = self.members.iter().map(Member::last_words).collect::<Vec<_>>().join("\n");
        Err(format!("{}: {what} after {PATIENCE:?}:\n{words}", self.name).into())
    }
}

/// Where a cluster keeps its files; removed with the cluster unless it is to be kept.
fn directory(subject: &Subject, setting: &Setting) -> std::io::Result<TempDir> {
    let program = subject.name.rsplit('/').next().unwrap_or_default();
    let mut builder = tempfile::Builder::new();
    builder.prefix(program).disable_cleanup(setting.keep);
    match &setting.directory {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
}
