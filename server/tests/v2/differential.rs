//! The same random requests to berth and to etcd, each compared.

use std::time::Duration;

use bytes::Bytes;
use testkit::{Program, env_number, subject};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::canonical::{Order, body_difference, difference};
use crate::generate::Generator;
use crate::http::{Ask, piece};
use crate::side::{Side, align};

const OPS_DEFAULT: u64 = 1_500;
const CLUSTER_OPS_DEFAULT: u64 = 400;
const SEED_DEFAULT: u64 = 20_260_202;

/// What neither side has sent by then is taken for not coming.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a body may take that the other side has sent.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Changes that fill the history, and some.
const FILL: u64 = 1_003;

struct Run {
    etcd: Side,
    berth: Side,
    members: usize,
    generator: Generator,
    index: u64,
    answered: [u64; 6],
}

impl Run {
    async fn start(members: usize, seed: u64) -> Run {
        let mut etcd = Side::start(Program::etcd(), members).await;
        let mut berth = Side::start(subject!(), members).await;
        align(&mut etcd, &mut berth).await;
        let generator = Generator::new(seed);
        Run { etcd, berth, members, generator, index: 0, answered: [0; 6] }
    }

    async fn both(&mut self, ask: &Ask) -> Result<(), String> {
        let (here, there) =
            (self.generator.below(self.members), self.generator.below(self.members));
        let (expected, actual) = tokio::join!(self.etcd.ask(here, ask), self.berth.ask(there, ask));
        self.index = self.index.max(expected.number("x-etcd-index"));
        self.answered[usize::from(expected.status.as_u16() / 100)] += 1;
        difference(ask, &expected, &actual).map_or(Ok(()), |it| Err(format!("{ask:?}\n{it}")))
    }

    /// Waits for a change on both sides, and makes one.
    async fn wait(&mut self) -> Result<(), String> {
        let key = self.generator.key();
        let from = self.index.saturating_sub(self.generator.below(30) as u64) + 1;
        let recursive = self.generator.below(2) == 0;
        let target = format!("/v2/keys{key}?wait=true&recursive={recursive}&waitIndex={from}");
        let ask = Ask::new("GET", target);
        let mut expected = self.etcd.begin(0, &ask).await;
        let mut actual = self.berth.begin(0, &ask).await;
        if expected.status() != actual.status() {
            return Err(format!("{ask:?}: {expected:?}, {actual:?}"));
        }
        self.both_on_others(&Ask::new("PUT", format!("/v2/keys{key}")).form("value=told")).await?;
        let (there, here) = tokio::join!(
            timeout(SILENCE, piece(&mut expected)),
            timeout(SILENCE, piece(&mut actual))
        );
        let (expected, actual) = match (there, here) {
            (Err(_), Ok(here)) => (timeout(BODY_TIME_MAX, piece(&mut expected)).await, Ok(here)),
            (Ok(there), Err(_)) => (Ok(there), timeout(BODY_TIME_MAX, piece(&mut actual)).await),
            both => both,
        };
        let text = |body: Result<Option<Bytes>, Elapsed>| body.ok().flatten().unwrap_or_default();
        body_difference(&text(expected), &text(actual), Order::Any)
            .map_or(Ok(()), |it| Err(format!("{ask:?}\n{it}")))
    }

    /// On connections that nobody waits on.
    async fn both_on_others(&mut self, ask: &Ask) -> Result<(), String> {
        self.etcd.reconnect().await;
        self.berth.reconnect().await;
        self.both(ask).await
    }

    async fn step(&mut self) -> Result<(), String> {
        if self.generator.below(25) == 0 {
            return self.wait().await;
        }
        let ask = self.generator.ask(self.index);
        self.both(&ask).await
    }

    /// Fills the history and looks at its edge.
    async fn edge(&mut self) -> Result<(), String> {
        for _ in 0..FILL {
            self.both(&Ask::new("PUT", "/v2/keys/fill").form("value=x")).await?;
        }
        let first = self.index - 999;
        for from in [1, first - 1, first] {
            let target = format!("/v2/keys/fill?wait=true&waitIndex={from}");
            self.both(&Ask::new("GET", target)).await?;
        }
        Ok(())
    }
}

async fn compare(members: usize, scale: &str, default: u64) -> Run {
    let seed = env_number("BERTH_DIFF_SEED", SEED_DEFAULT);
    let mut run = Run::start(members, seed).await;
    for number in 1..=env_number(scale, default) {
        if let Err(difference) = run.step().await {
            panic!(
                "request {number} of seed {seed} differs (BERTH_DIFF_SEED={seed}): {difference}"
            );
        }
    }
    run
}

/// Proves that a client of the v2 API cannot tell berth from etcd by any answer; the history ends
/// where etcd's does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_etcds() {
    let mut run = compare(1, "BERTH_V2_OPS", OPS_DEFAULT).await;
    run.edge().await.unwrap();
    let [_, _, good, _, bad, failed] = run.answered;
    assert!(good > 500 && bad > 300 && failed == 0, "{:?}", run.answered);
    println!("{:?} answers by status", run.answered);
}

/// Proves the same of three members, asking any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_answer_as_three_of_etcd() {
    let run = compare(3, "BERTH_V2_CLUSTER_OPS", CLUSTER_OPS_DEFAULT).await;
    assert_eq!(run.answered[5], 0, "{:?}", run.answered);
}
