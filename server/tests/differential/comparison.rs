//! Two servers in lockstep: one step to both, both answers compared.

use std::collections::BTreeMap;
use std::time::Duration;

use api::etcdserverpb::{LeaseLeasesRequest, RangeRequest, WatchCreateRequest, WatchResponse};
use api::mvccpb::Event;
use testkit::{Kind, Program, bounded};

use crate::call::{Action, Answer, Call, Caller, Refusal, Step};
use crate::differences::{self, Verdict};
use crate::generate::{self, Generator};
use crate::side::Side;
use crate::watching::{WatchStream, Watcher, mod_revision};

/// A run: both sides, what drives it, and the reference's history to judge watchers by.
pub(crate) struct Comparison {
    reference: Side,
    subject: Side,
    generator: Generator,
    history: Vec<Event>,
    /// The first of them is [`WITNESS`].
    watchers: Vec<Watcher>,
    steps: u64,
    refused: u64,
    answered: u64,
    /// Whether some watcher may still be reading history.
    catching_up: bool,
    /// How often each row of the table of differences was used.
    excused: BTreeMap<&'static str, u64>,
}

/// How long one member of a cluster leads. No client may notice that it changes.
const STEPS_PER_LEADER: u64 = 50;
/// The watcher that sees every event of the run, on both sides.
const WITNESS: i64 = 0;

impl Comparison {
    /// The reference is one server; the subject has so many members.
    pub(crate) async fn start(
        reference: Program,
        subject: Program,
        members: usize,
        seed: u64,
    ) -> Self {
        let mut comparison = Self {
            reference: Side::start("reference", reference, 1, seed).await,
            subject: Side::start("subject", subject, members, seed).await,
            generator: Generator::new(seed),
            history: Vec::new(),
            watchers: Vec::new(),
            steps: 0,
            refused: 0,
            answered: 0,
            catching_up: false,
            excused: BTreeMap::new(),
        };
        let request = WatchCreateRequest { start_revision: 1, prev_kv: true, ..everything() };
        comparison.watch(request).await.expect("a fresh server watches");
        comparison
    }

    /// Draws the next step, makes it on both sides and compares.
    pub(crate) async fn step(&mut self) -> Result<(), String> {
        let mut step = self.generator.next_step();
        if let Action::Call(Call::Txn(txn)) = &mut step.action
            && self.subject.host.drops_ranges()
        {
            generate::without_ranges(txn);
        }
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LEADER) {
            self.subject.move_leader().await;
        }
        self.subject.level().await;
        let outcome = match step.action.clone() {
            Action::Call(call) => self.call(&step, &call).await,
            Action::KeepAlive(lease) => self.keep_alive(&step, lease).await,
            Action::Watch(request) if self.generator.world.auth_enabled => {
                self.watch_as(&step, request).await
            }
            Action::Watch(request) => self.watch(request).await,
            Action::CancelWatch(id) => self.cancel_watch(id).await,
            Action::SettleWatches => self.settle().await,
        };
        outcome.map_err(|difference| format!("{step:#?}\n{difference}\n{}", self.context()))
    }

    /// Compares what is left: all watchers, the whole history, all keys and leases.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.settle().await?;
        self.whole_history().await?;
        let caller =
            if self.generator.world.auth_enabled { Caller::User("root") } else { Caller::Nobody };
        let everything =
            RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
        for call in [Call::Range(everything), Call::LeaseLeases(LeaseLeasesRequest {})] {
            let step = Step { caller: caller.clone(), action: Action::Call(call.clone()) };
            self.subject.level().await;
            self.call(&step, &call).await?;
        }
        self.subject.host.converged().await;
        Ok(())
    }

    pub(crate) fn summary(&self) -> String {
        let Self { answered, refused, history, watchers, excused, .. } = self;
        format!(
            "{answered} answered, {refused} refused, {} events, {} watchers at the end, \
             excused: {excused:?}",
            history.len(),
            watchers.len()
        )
    }

    /// What the servers themselves say, if one of them is gone.
    fn context(&mut self) -> String {
        // A dying server closes its connections before it is gone.
        std::thread::sleep(Duration::from_secs(1));
        let mut text = String::new();
        for side in [&mut self.reference, &mut self.subject] {
            if let Some(log) = side.host.crash() {
                text += &format!("the {} has crashed:\n{log}\n", side.name);
            }
        }
        text
    }

    fn server_is_gone(&mut self) -> bool {
        !self.reference.host.is_running() || !self.subject.host.is_running()
    }

    async fn call(&mut self, step: &Step, call: &Call) -> Result<(), String> {
        if matches!(call, Call::AuthEnable(_)) {
            // As long as watchers of ours are still welcome.
            self.prove_caught_up().await?;
        }
        if matches!(call, Call::Compact(_)) {
            // What a watcher sees with prev_kv depends on whether it was faster, and one that
            // still reads history would be cancelled.
            self.prove_caught_up().await?;
            self.settle().await?;
        }
        let (mut a, mut b) =
            tokio::join!(self.reference.call(step, call), self.subject.call(step, call));
        self.compare(step, Some(call), &mut a, &mut b)?;
        match call {
            Call::Range(range) => self.range_stream(step, range, &a).await,
            _ => Ok(()),
        }
    }

    /// The same range again, as a stream: together its chunks have to be the answer. Only berth
    /// is asked, for the calls that a stream can answer.
    async fn range_stream(
        &mut self,
        step: &Step,
        range: &RangeRequest,
        answer: &Answer,
    ) -> Result<(), String> {
        let filters = [
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        let plain = range.sort_order == 0 && range.sort_target == 0 && filters == [0; 4];
        if !plain || self.subject.host.kind() == Kind::Etcd {
            return Ok(());
        }
        let streamed = self.subject.range_stream(step, range).await;
        if streamed == *answer {
            return Ok(());
        }
        Err(format!("reference: {answer:#?}\nsubject's stream: {streamed:#?}"))
    }

    async fn keep_alive(&mut self, step: &Step, lease: i64) -> Result<(), String> {
        let (mut a, mut b) = tokio::join!(
            self.reference.keep_alive(step, lease),
            self.subject.keep_alive(step, lease)
        );
        self.compare(step, None, &mut a, &mut b)
    }

    fn compare(
        &mut self,
        step: &Step,
        call: Option<&Call>,
        reference: &mut Answer,
        subject: &mut Answer,
    ) -> Result<(), String> {
        if self.subject.host.is_cluster() {
            differences::reconcile_leases(reference, subject);
        }
        match differences::judge(call, reference, subject) {
            Verdict::Equal => {}
            Verdict::Excused(reason) => *self.excused.entry(reason).or_default() += 1,
            Verdict::Different => {
                return Err(format!("reference: {reference:#?}\nsubject: {subject:#?}"));
            }
        }
        match &*reference {
            Ok(_) => self.answered += 1,
            Err(refusal) if broken(refusal) || self.server_is_gone() => {
                return Err(refusal.text.clone());
            }
            Err(_) => self.refused += 1,
        }
        self.generator.world.observe(step, reference);
        Ok(())
    }

    /// Creates a watcher on the common stream of each side.
    async fn watch(&mut self, request: WatchCreateRequest) -> Result<(), String> {
        let world = &self.generator.world;
        let world_revision = world.revision;
        let next_revision =
            if request.start_revision == 0 { world.revision + 1 } else { request.start_revision };
        let compacted = request.start_revision != 0 && request.start_revision < world.compacted;
        self.reference.watches.create(request.clone()).await;
        self.subject.watches.create(request.clone()).await;
        let created = self.next_control().await?;
        if created.canceled {
            return Ok(());
        }
        if compacted {
            self.next_control().await?;
            return Ok(());
        }
        let id = created.watch_id;
        self.catching_up |= next_revision <= world_revision;
        self.watchers.push(Watcher { id, request, next_revision });
        if id != WITNESS {
            self.generator.world.watchers.push(id);
        }
        Ok(())
    }

    /// Creates a watcher on a stream of its own, as a user, to compare the first answer.
    async fn watch_as(&mut self, step: &Step, request: WatchCreateRequest) -> Result<(), String> {
        let mut answers = Vec::new();
        for side in [&mut self.reference, &mut self.subject] {
            let token = side.token(&step.caller);
            let mut stream = WatchStream::open(&side.any().watch, token.as_deref());
            stream.create(request.clone()).await;
            let mut answer = stream.next_control().await;
            answer.iter_mut().for_each(|answer| side.ids.header(&mut answer.header));
            answers.push(answer);
        }
        let subject = answers.pop().flatten();
        same_control(answers.pop().flatten(), subject).map(drop)
    }

    async fn cancel_watch(&mut self, id: i64) -> Result<(), String> {
        self.settle().await?;
        self.watchers.retain(|watcher| watcher.id != id);
        self.generator.world.watchers.retain(|watcher| *watcher != id);
        self.end_watcher(id).await
    }

    async fn end_watcher(&mut self, id: i64) -> Result<(), String> {
        self.reference.watches.cancel(id).await;
        self.subject.watches.cancel(id).await;
        self.next_control().await.map(drop)
    }

    async fn next_control(&mut self) -> Result<WatchResponse, String> {
        let (mut reference, mut subject) = tokio::join!(
            self.reference.watches.next_control(),
            self.subject.watches.next_control()
        );
        reference.iter_mut().for_each(|answer| self.reference.ids.header(&mut answer.header));
        subject.iter_mut().for_each(|answer| self.subject.ids.header(&mut answer.header));
        same_control(reference, subject)
    }

    /// Waits until all watchers saw all there is, and compares it with the history.
    async fn settle(&mut self) -> Result<(), String> {
        let revision = self.generator.world.revision;
        self.settle_witness(revision).await?;
        for at in 1..self.watchers.len() {
            let expected = self.watchers[at].expected(&self.history);
            let id = self.watchers[at].id;
            for side in [&self.reference, &self.subject] {
                let mut seen = side.watches.take(id, expected.len(), i64::MAX).await;
                seen.iter_mut().for_each(|event| side.ids.event(event));
                same_events(
                    &format!("{} watcher {:?}", side.name, self.watchers[at]),
                    &expected,
                    &seen,
                )?;
            }
            let next = &mut self.watchers[at].next_revision;
            *next = (*next).max(revision + 1);
        }
        for side in [&self.reference, &self.subject] {
            let violations = side.watches.violations();
            if !violations.is_empty() {
                return Err(format!("{}: {violations:#?}", side.name));
            }
        }
        self.progress(revision).await
    }

    /// Takes the new events of the watcher that sees all, which become history.
    async fn settle_witness(&mut self, revision: i64) -> Result<(), String> {
        if revision < self.watchers[0].next_revision.max(2) {
            return Ok(());
        }
        let mut seen = Vec::new();
        for side in [&self.reference, &self.subject] {
            let mut events = side.watches.take(WITNESS, usize::MAX, revision).await;
            events.iter_mut().for_each(|event| side.ids.event(event));
            seen.push(events);
        }
        let subject = seen.pop().expect("two sides");
        let reference = seen.pop().expect("two sides");
        if reference.last().map(mod_revision) != Some(revision) {
            return Err(format!("the reference's witness never saw revision {revision}"));
        }
        same_events("the watcher of everything", &reference, &subject)?;
        self.history.extend(reference);
        self.watchers[0].next_revision = revision + 1;
        Ok(())
    }

    /// Waits until no watcher reads history any more. A new watcher that starts at the current
    /// revision reads history too, and no server serves it before those that came earlier.
    async fn prove_caught_up(&mut self) -> Result<(), String> {
        let revision = self.generator.world.revision;
        if !self.catching_up || revision <= self.generator.world.compacted.max(1) {
            return Ok(());
        }
        let request = WatchCreateRequest { start_revision: revision, ..everything() };
        self.reference.watches.create(request.clone()).await;
        self.subject.watches.create(request).await;
        let id = self.next_control().await?.watch_id;
        for side in [&self.reference, &self.subject] {
            if side.watches.take(id, 1, revision).await.is_empty() {
                return Err(format!("{}: no event from revision {revision}", side.name));
            }
        }
        self.catching_up = false;
        self.end_watcher(id).await
    }

    /// Progress is only asked for when no watcher reads history or waits for a revision to come:
    /// 3.4 answers always, 3.7 only then (and else not at all).
    async fn progress(&mut self, revision: i64) -> Result<(), String> {
        if self.catching_up || self.watchers.iter().any(|w| w.request.start_revision > revision) {
            return Ok(());
        }
        self.reference.watches.request_progress().await;
        self.subject.watches.request_progress().await;
        let answer = self.next_control().await.map_err(|difference| {
            format!("progress asked for with {:#?}\n{difference}", self.watchers)
        })?;
        let header_revision = answer.header.map_or(0, |header| header.revision);
        if answer.watch_id == -1 && header_revision >= revision {
            return Ok(());
        }
        Err(format!("progress at revision {revision} is answered with {answer:?}"))
    }

    /// A new watcher from the oldest revision that there is has to see the same history.
    async fn whole_history(&mut self) -> Result<(), String> {
        if self.generator.world.auth_enabled {
            let disable = Call::AuthDisable(Default::default());
            let step = Step { caller: Caller::User("root"), action: Action::Call(disable.clone()) };
            self.call(&step, &disable).await?;
        }
        let request = WatchCreateRequest {
            start_revision: self.generator.world.compacted + 1,
            prev_kv: true,
            ..everything()
        };
        bounded(self.watch(request)).await?;
        self.settle().await
    }
}

/// A watcher of all keys.
fn everything() -> WatchCreateRequest {
    WatchCreateRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() }
}

fn same_control(
    reference: Option<WatchResponse>,
    subject: Option<WatchResponse>,
) -> Result<WatchResponse, String> {
    match (reference, subject) {
        (Some(mut reference), Some(mut subject)) => {
            differences::reconcile_watch(&mut reference, &mut subject);
            if reference == subject {
                return Ok(reference);
            }
            Err(format!("reference: {reference:#?}\nsubject: {subject:#?}"))
        }
        (reference, subject) => {
            let missing = if reference.is_none() { "reference" } else { "subject" };
            Err(format!("no answer from the {missing}; the other: {:#?}", reference.or(subject)))
        }
    }
}

fn same_events(who: &str, expected: &[Event], seen: &[Event]) -> Result<(), String> {
    if expected == seen {
        return Ok(());
    }
    let at = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{who}: {} events expected, {} seen; the first difference is event {at}:\n\
         expected {:#?}\nseen {:#?}",
        expected.len(),
        seen.len(),
        expected.get(at),
        seen.get(at)
    ))
}

/// Whether the connection broke, which no server may do to a caller in these runs.
fn broken(refusal: &Refusal) -> bool {
    ["transport error", "connect error", "h2 protocol error"]
        .iter()
        .any(|text| refusal.text.contains(text))
}
