//! Random writes, compactions, watches, slow readers and stalls, judged by a plain model.
//!
//! The properties are those of etcd's robustness suite: ordered, unique, atomic, reliable,
//! resumable, bookmarkable (progress), filtered, right `prev_kv`, compaction told.

use std::collections::BTreeMap;

use api::mvccpb::KeyValue;
use proptest::prelude::*;
use store::{Event, EventKind};

use super::*;
use crate::{CreateError, Source};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const STREAMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Key, and length of the value; no length deletes.
    Write(Vec<(usize, Option<usize>)>),
    /// A write that the hub hears of only through a new state.
    Reset(Vec<(usize, Option<usize>)>),
    /// So many revisions below the current one.
    Compact(i64),
    /// The same, while history is read the next time.
    CompactMeanwhile(i64),
    Create(usize, Wish),
    Cancel(usize, i64),
    Progress(usize),
    Read(usize, usize),
    Poll(usize),
    Tick(u64),
    Reopen(usize),
}

#[derive(Clone, Debug)]
struct Wish {
    key: usize,
    range_end: &'static str,
    /// Relative to the current revision; `None` is 0.
    start: Option<i64>,
    filters: Vec<i32>,
    prev_kv: bool,
    progress_notify: bool,
    fragment: bool,
    watch_id: i64,
}

fn changes() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
    let change = (0..KEYS.len(), prop::option::weighted(0.7, 0usize..300));
    prop::collection::vec(change, 1..5)
}

fn wish() -> impl Strategy<Value = Wish> {
    let range_end = prop::sample::select(vec!["", "", "\0", "c", "e"]);
    let start = prop::option::weighted(0.7, -30i64..5);
    let filters = prop::sample::select(vec![vec![], vec![], vec![0], vec![1]]);
    let flags = any::<(bool, bool, bool)>();
    (0..KEYS.len(), range_end, start, filters, flags, 0i64..3).prop_map(
        |(key, range_end, start, filters, (prev_kv, progress_notify, fragment), watch_id)| Wish {
            key,
            range_end,
            start,
            filters,
            prev_kv,
            progress_notify,
            fragment,
            watch_id,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => changes().prop_map(Step::Write),
        1 => changes().prop_map(Step::Reset),
        2 => (0i64..20).prop_map(Step::Compact),
        1 => (0i64..20).prop_map(Step::CompactMeanwhile),
        4 => (0..STREAMS, wish()).prop_map(|(stream, wish)| Step::Create(stream, wish)),
        1 => (0..STREAMS, 0i64..4).prop_map(|(stream, id)| Step::Cancel(stream, id)),
        2 => (0..STREAMS).prop_map(Step::Progress),
        6 => (0..STREAMS, 1usize..6).prop_map(|(stream, count)| Step::Read(stream, count)),
        6 => (1usize..5).prop_map(Step::Poll),
        1 => (1u64..2000).prop_map(Step::Tick),
        1 => (0..STREAMS).prop_map(Step::Reopen),
    ]
}

/// One watch as its client knows it.
struct Watch {
    request: WatchCreateRequest,
    /// From its request, or what `created` said.
    first: i64,
    /// Events received; each response ends a revision.
    received: usize,
    /// Events of a response whose last fragment has not come.
    partial: usize,
    /// The greatest revision that progress promised.
    promised: i64,
    created: bool,
}

/// One client.
struct Client {
    stream: WatchStream,
    watches: BTreeMap<i64, Watch>,
    /// Cancelled by us; until the answer comes, events may.
    cancelled: Vec<(i64, Watch)>,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let bench = Bench::new(Options {
            buffer_bytes_per_stream: 2000,
            ring_bytes: 12_000,
            inbox_bytes: 8000,
            slice_bytes: 1000,
            slice_revisions: 5,
            max_response_bytes: 400,
            progress_interval_ms: 1000,
        });
        let clients = (0..STREAMS).map(|_| Client::new(&bench)).collect();
        World { bench, clients, now_ms: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(changes) => self.write(&changes, true),
            Step::Reset(changes) => {
                self.write(&changes, false);
                self.bench.publisher.reset(self.bench.store.clone());
            }
            Step::Compact(below) => compact(&self.bench.store, below),
            Step::CompactMeanwhile(below) => {
                let store = self.bench.store.clone();
                self.bench.store.meanwhile(move || compact(&store, below));
            }
            Step::Create(client, wish) => self.create(client, wish),
            Step::Cancel(client, id) => self.clients[client].cancel(id),
            Step::Progress(client) => self.clients[client].stream.request_progress(),
            Step::Read(client, count) => _ = self.read(client, count),
            Step::Poll(times) => assert!(self.bench.poll(times).is_pending()),
            Step::Tick(ms) => {
                self.now_ms += ms;
                self.bench.hub.tick(self.now_ms);
            }
            Step::Reopen(client) => self.clients[client] = Client::new(&self.bench),
        }
    }

    fn write(&self, changes: &[(usize, Option<usize>)], published: bool) {
        let mut once = BTreeMap::new();
        once.extend(changes.iter().map(|(key, length)| (*key, length.map(|l| "v".repeat(l)))));
        let changes: Vec<_> =
            once.iter().map(|(key, value)| (KEYS[*key], value.as_deref())).collect();
        if published {
            self.bench.write(&changes);
        } else {
            self.bench.store.write(&changes);
        }
    }

    fn create(&mut self, client: usize, wish: Wish) {
        let current = self.bench.store.revision();
        let start_revision = wish.start.map_or(0, |start| (current + start).max(1));
        let request = WatchCreateRequest {
            key: KEYS[wish.key].into(),
            range_end: wish.range_end.into(),
            start_revision,
            filters: wish.filters,
            prev_kv: wish.prev_kv,
            progress_notify: wish.progress_notify,
            fragment: wish.fragment,
            watch_id: wish.watch_id,
        };
        let client = &mut self.clients[client];
        let empty = !matches!(wish.range_end, "" | "\0") && wish.range_end <= KEYS[wish.key];
        match client.stream.create(&request) {
            Err(CreateError::EmptyRange) => assert!(empty),
            Err(CreateError::DuplicateId) => assert!(client.knows(wish.watch_id)),
            Err(CreateError::NegativeStart) => unreachable!("none was asked for"),
            Ok(id) => {
                assert!(!empty && (wish.watch_id == 0 || wish.watch_id == id));
                let first = if start_revision == 0 { current + 1 } else { start_revision };
                let watch =
                    Watch { request, first, received: 0, partial: 0, promised: 0, created: false };
                assert!(client.watches.insert(id, watch).is_none(), "id {id} given twice");
            }
        }
    }

    fn read(&mut self, client: usize, count: usize) -> usize {
        let history = self.bench.store.everything();
        let client = &mut self.clients[client];
        let mut read = 0;
        while read < count {
            let Some(response) = take(&mut client.stream) else { break };
            client.check(&response, &self.bench.store, &history);
            read += 1;
        }
        read
    }

    /// Lets everything come to rest, then nobody may lack anything.
    fn finish(&mut self) {
        for client in 0..STREAMS {
            self.drain(client);
        }
        let history = self.bench.store.everything();
        for client in &mut self.clients {
            for (id, watch) in &client.watches {
                let expected = watch.expected(&history).count();
                assert_eq!(watch.received, expected, "watch {id} lacks events");
                assert_eq!(watch.partial, 0);
            }
            client.stream.request_progress();
        }
        assert_eq!(self.bench.hub.stats().slow_watchers, 0);
        let current = self.bench.store.revision();
        for client in 0..STREAMS {
            self.drain(client);
            for watch in self.clients[client].watches.values() {
                let begun = self.clients[client].watches.values().all(|w| w.first <= current);
                assert!(!begun || watch.promised == current, "progress was not answered");
            }
        }
    }

    fn drain(&mut self, client: usize) {
        loop {
            self.bench.settle();
            if self.read(client, usize::MAX) == 0 {
                return;
            }
        }
    }
}

fn compact(store: &Fake, below: i64) {
    let revision = store.revision() - below;
    if revision > store.compact_revision() {
        store.compact(revision);
    }
}

impl Client {
    fn new(bench: &Bench) -> Client {
        Client { stream: bench.hub.open(), watches: BTreeMap::new(), cancelled: Vec::new() }
    }

    /// Is the id taken, as far as this client can know?
    fn knows(&self, id: i64) -> bool {
        self.watches.contains_key(&id)
    }

    fn cancel(&mut self, id: i64) {
        self.stream.cancel(id);
        if let Some(watch) = self.watches.remove(&id) {
            self.cancelled.push((id, watch));
        }
    }

    fn check(
        &mut self,
        response: &EncodedWatchResponse,
        store: &Fake,
        history: &[(Event, Option<KeyValue>)],
    ) {
        let id = response.watch_id;
        let header = response.header.as_ref().unwrap().revision;
        assert!(header <= store.revision(), "a header of the future");
        if id == -1 {
            return self.check_progress_of_all(header, history);
        }
        // The oldest watch of that id that is not over: the answers come in order.
        let cancelled = self.cancelled.iter().position(|(old, _)| *old == id);
        let watch = match cancelled {
            Some(position) => &mut self.cancelled[position].1,
            None => self.watches.get_mut(&id).expect("a response for no watch"),
        };
        if response.created {
            assert!(!watch.created && response.events.is_empty());
            watch.created = true;
        } else if response.canceled {
            assert!(watch.created);
            let compacted = response.compact_revision;
            if compacted != 0 {
                assert!(watch.first < compacted && compacted <= store.compact_revision());
                assert_eq!(watch.partial, 0);
                watch.first = i64::MAX;
                watch.received = 0;
            }
            if compacted == 0 {
                let position = cancelled.expect("canceled, but not by us");
                self.cancelled.remove(position);
            }
        } else if response.events.is_empty() {
            watch.check_progress(header, history);
        } else {
            watch.check_events(response, header, store, history);
        }
    }

    fn check_progress_of_all(&mut self, header: i64, history: &[(Event, Option<KeyValue>)]) {
        let watches = self.watches.values_mut();
        for watch in watches.filter(|watch| watch.created && watch.first != i64::MAX) {
            watch.check_progress(header, history);
        }
    }
}

impl Watch {
    /// All events that this watch is owed so far.
    fn expected<'a>(
        &'a self,
        history: &'a [(Event, Option<KeyValue>)],
    ) -> impl Iterator<Item = &'a (Event, Option<KeyValue>)> {
        let in_range = |key: &[u8]| match self.request.range_end.as_ref() {
            b"" => key == self.request.key.as_ref(),
            b"\0" => key >= self.request.key.as_ref(),
            end => key >= self.request.key.as_ref() && key < end,
        };
        history.iter().filter(move |(event, _)| {
            event.revision.main >= self.first
                && in_range(&event.kv.key)
                && !self.request.filters.contains(&i32::from(event.kind == EventKind::Delete))
        })
    }

    fn check_events(
        &mut self,
        response: &EncodedWatchResponse,
        header: i64,
        store: &Fake,
        history: &[(Event, Option<KeyValue>)],
    ) {
        assert!(self.created, "events before created");
        assert!(!response.fragment || self.request.fragment);
        let received = self.received + self.partial;
        let got = events(response);
        let mut expected = self.expected(history).skip(received);
        let mut last = 0;
        for event in &got {
            let (want, prev) = expected.next().expect("an event that was not owed");
            self.check_event(event, want, prev.as_ref(), store);
            last = want.revision.main;
        }
        assert!(self.promised < last, "an event at or below promised progress");
        assert!(last <= header);
        let splits = expected.next().is_some_and(|(next, _)| next.revision.main == last);
        assert!(!splits || response.fragment, "a revision was split");
        drop(expected);
        let size: usize = response.events.iter().map(bytes::Bytes::len).sum();
        assert!(!self.request.fragment || got.len() == 1 || size < 400, "a fragment too large");
        self.partial += got.len();
        if !response.fragment {
            self.received += self.partial;
            self.partial = 0;
        }
    }

    fn check_event(
        &self,
        got: &api::mvccpb::Event,
        want: &Event,
        prev: Option<&KeyValue>,
        store: &Fake,
    ) {
        assert_eq!(got.r#type == 1, want.kind == EventKind::Delete);
        assert_eq!(got.kv.as_ref(), Some(&want.kv));
        match &got.prev_kv {
            Some(kv) => assert!(self.request.prev_kv && prev == Some(kv)),
            None => {
                let gone = want.revision.main - 1 < store.compact_revision();
                assert!(!self.request.prev_kv || prev.is_none() || gone, "prev_kv is missing");
            }
        }
    }

    fn check_progress(&mut self, header: i64, history: &[(Event, Option<KeyValue>)]) {
        let owed = self.expected(history).filter(|(event, _)| event.revision.main <= header);
        assert_eq!(self.received, owed.count(), "progress ahead of events");
        assert!(header >= self.promised, "progress went back");
        self.promised = header;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Proves that whatever happens in whatever order, each watcher gets all that it is owed, in
    /// order, once, whole revisions at a time, and only true progress; or is told that it can't.
    #[test]
    fn watchers_get_what_they_are_owed(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}
