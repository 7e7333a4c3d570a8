//! A cluster of real processes.
//!
//! Members listen on free loopback ports, or where the caller says (in network namespaces, behind
//! proxies). Whatever ends the test, dropping the cluster kills every process; when the test
//! fails it prints the end of each member's log.

mod convergence;
mod member;
mod place;

use tokio::sync::{Semaphore, SemaphorePermit};

pub use member::{Birth, Member};
pub use place::Place;

use crate::client::Clients;
use crate::program::{Kind, Program};
use crate::proxy::Proxy;
use crate::wait::eventually;

/// How many clusters run at the same time in one test program: more would only slow each other
/// until elections fail.
const CLUSTERS_MAX: usize = 2;
static ROOM: Semaphore = Semaphore::const_new(CLUSTERS_MAX);

/// Several elections on a busy machine.
pub(crate) const LEADER_S_MAX: u64 = 60;

/// Members that run, or do not run now. They are known by their place in the cluster, from 0.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    program: Program,
    flags: Vec<String>,
    _room: SemaphorePermit<'static>,
}

impl Cluster {
    /// `count` members on loopback ports, all of which serve.
    pub async fn start(program: Program, count: usize) -> Self {
        Self::start_with(program, (0..count).map(|_| Place::loopback()).collect(), &[]).await
    }

    /// One member at each place, with etcd's flags `flags`; all of them serve.
    pub async fn start_with(program: Program, places: Vec<Place>, flags: &[&str]) -> Self {
        let mut cluster = Self::prepare(program, places, flags).await;
        cluster.launch();
        for member in &mut cluster.members {
            member.wait_serving().await;
        }
        cluster
    }

    /// `count` members with etcd's flags `flags`, and before each a proxy, by which the others reach
    /// it; its clients do not pass there.
    pub async fn start_behind_proxies(
        program: Program,
        count: usize,
        flags: &[&str],
    ) -> (Self, Vec<Proxy>) {
        let (mut places, mut proxies) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let place = Place::loopback();
            let proxy = Proxy::start(place.peer.clone()).await;
            places.push(place.behind(proxy.address().to_owned()));
            proxies.push(proxy);
        }
        (Self::start_with(program, places, flags).await, proxies)
    }

    /// Like [`Self::start_with`], and nothing runs yet.
    pub async fn prepare(program: Program, places: Vec<Place>, flags: &[&str]) -> Self {
        let room = ROOM.acquire().await.expect("the semaphore is never closed");
        let names: Vec<String> = (1..=places.len()).map(|number| format!("m{number}")).collect();
        let entries = names.iter().zip(&places);
        let entries: Vec<String> = entries
            .map(|(name, place)| format!("{name}={}", place.advertised_peer_url()))
            .collect();
        let birth =
            Birth { initial_cluster: entries.join(","), state: "new", token: "testkit".to_owned() };
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let members = names
            .iter()
            .zip(places)
            .map(|(name, place)| Member::new(program.clone(), name, place, birth.clone(), &flags))
            .collect();
        Self { members, program, flags, _room: room }
    }

    /// Starts every process, and waits for nothing.
    pub fn launch(&mut self) {
        self.members.iter_mut().for_each(Member::launch);
    }

    /// What the members are.
    pub fn kind(&self) -> Kind {
        self.program.kind
    }

    /// What the logs say of a crash, if a process is gone or one of its tasks has crashed.
    pub fn crash(&mut self) -> Option<String> {
        self.members.iter_mut().find_map(Member::crash)
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn member(&self, at: usize) -> &Member {
        &self.members[at]
    }

    pub fn member_mut(&mut self, at: usize) -> &mut Member {
        &mut self.members[at]
    }

    /// Clients of the member at `at`.
    pub fn clients(&self, at: usize) -> Clients {
        self.members[at].clients()
    }

    /// The client URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// Members other than `at`.
    pub fn others(&self, at: usize) -> Vec<usize> {
        (0..self.len()).filter(|other| *other != at).collect()
    }

    /// The places of the members that run now.
    pub fn running(&mut self) -> Vec<usize> {
        let running = self.members.iter_mut().map(Member::is_running);
        running.enumerate().filter(|(_, runs)| *runs).map(|(at, _)| at).collect()
    }

    /// The leader, once all members that run agree on one that runs.
    pub async fn leader(&mut self) -> usize {
        let running = self.running();
        self.leader_among(&running).await
    }

    /// The leader, once the members at `places` agree that it is one of them.
    pub async fn leader_among(&self, places: &[usize]) -> usize {
        eventually("a leader", LEADER_S_MAX, async || {
            let mut leader = None;
            for at in places {
                let status = self.members[*at].status().await?;
                let id = status.header.map_or(0, |header| header.member_id);
                if status.leader == id && id != 0 {
                    leader = Some((*at, id));
                }
            }
            let (at, id) = leader.ok_or("nobody says that it leads")?;
            for other in places {
                let said = self.members[*other].status().await?.leader;
                if said != id {
                    return Err(format!("m{} leads, m{} says {said:x}", at + 1, other + 1));
                }
            }
            Ok(at)
        })
        .await
    }

    /// The id of the member at `at`.
    pub async fn id(&self, at: usize) -> u64 {
        let what = format!("the id of m{}", at + 1);
        let member = &self.members[at];
        let status = eventually(&what, LEADER_S_MAX, async || member.status().await).await;
        status.header.map_or(0, |header| header.member_id)
    }

    /// A member for a cluster that already exists: the caller has added its peer URL by
    /// `MemberAdd`, and launches it. Returns its place.
    pub fn join(&mut self, place: Place, flags: &[&str]) -> usize {
        let name = format!("m{}", self.members.len() + 1);
        let known = self.members.iter().map(|member| (&member.name, &member.place));
        let entries: Vec<String> = known
            .chain([(&name, &place)])
            .map(|(name, place)| format!("{name}={}", place.advertised_peer_url()))
            .collect();
        let birth = Birth {
            initial_cluster: entries.join(","),
            state: "existing",
            token: "testkit".to_owned(),
        };
        let flags: Vec<String> =
            self.flags.iter().cloned().chain(flags.iter().map(ToString::to_string)).collect();
        self.members.push(Member::new(self.program.clone(), &name, place, birth, &flags));
        self.members.len() - 1
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for member in &mut self.members {
            let state = if member.is_running() { "runs" } else { "does not run" };
            eprintln!("--- {} {state}; the end of its log:\n{}", member.name, member.log_tail());
        }
    }
}
