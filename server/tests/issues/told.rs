//! What a stream of watches has told, held against what it may tell.

use api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use api::mvccpb::Event;
use testkit::Clients;

use crate::steps::{Stream, revision_of};

/// The id of no watch: progress of a whole stream has it.
const NO_WATCH: i64 = -1;

/// A stream, and what each of its watches has told. A watch that repeats an event, goes back, or
/// says something older than its start or than its progress fails the test at once; what it leaves
/// out shows in [`Told::events`].
pub(crate) struct Told {
    stream: Stream,
    /// By their ids.
    watches: Vec<Watch>,
    /// How often it told of progress.
    pub(crate) progress: u32,
}

struct Watch {
    start: i64,
    /// Everything up to here was told, says the watch itself.
    told: i64,
    events: Vec<Event>,
    /// It was ended because of this compaction.
    compacted: Option<i64>,
}

impl Told {
    pub(crate) async fn open(clients: &Clients) -> Told {
        Told { stream: Stream::open(clients).await, watches: Vec::new(), progress: 0 }
    }

    /// Watches a range of keys (of one key, if it has no end) from a revision on, with `prev_kv` and
    /// with notifications of progress. The watch is there then.
    pub(crate) async fn watch(&mut self, (key, range_end): (&str, &str), start: i64) {
        let request = WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: range_end.to_owned().into(),
            start_revision: start,
            prev_kv: true,
            progress_notify: true,
            ..Default::default()
        };
        self.watches.push(Watch { start, told: start - 1, events: Vec::new(), compacted: None });
        self.stream.create(request).await;
        loop {
            let response = self.stream.next().await;
            if response.created {
                return assert!(!response.canceled, "{response:?}");
            }
            self.hear(response);
        }
    }

    pub(crate) async fn ask_for_progress(&self) {
        self.stream.ask_for_progress().await;
    }

    /// Takes responses, and asks for progress before each, until all watches have told everything up
    /// to `last` or were ended.
    pub(crate) async fn hear_upto(&mut self, last: i64) {
        let lacks = |watch: &Watch| watch.told < last && watch.compacted.is_none();
        while self.watches.iter().any(lacks) {
            self.ask_for_progress().await;
            let response = self.stream.next().await;
            self.hear(response);
        }
    }

    /// Takes what comes until there is silence.
    pub(crate) async fn hear_rest(&mut self) {
        for response in self.stream.rest().await {
            self.hear(response);
        }
    }

    /// The events of a watch.
    pub(crate) fn events(&self, id: usize) -> &[Event] {
        &self.watches[id].events
    }

    /// The revision because of whose compaction a watch was ended.
    pub(crate) fn compacted(&self, id: usize) -> Option<i64> {
        self.watches[id].compacted
    }

    fn hear(&mut self, response: WatchResponse) {
        if response.canceled {
            assert_ne!(response.compact_revision, 0, "{response:?}");
            self.of(response.watch_id).compacted = Some(response.compact_revision);
        } else if response.events.is_empty() {
            self.hear_progress(&response);
        } else {
            self.of(response.watch_id).hear(response.events);
        }
    }

    /// Of one watch, or with the id of none of the whole stream.
    fn hear_progress(&mut self, response: &WatchResponse) {
        self.progress += 1;
        let upto = response.header.as_ref().map_or(0, |header| header.revision);
        if response.watch_id == NO_WATCH {
            self.watches.iter_mut().for_each(|watch| watch.hear_progress(upto));
        } else {
            self.of(response.watch_id).hear_progress(upto);
        }
    }

    fn of(&mut self, id: i64) -> &mut Watch {
        let at = usize::try_from(id).expect("only progress is told for no watch");
        &mut self.watches[at]
    }
}

impl Watch {
    fn hear_progress(&mut self, upto: i64) {
        if self.compacted.is_none() {
            assert!(upto >= self.start, "progress r{upto} of a watch from r{}", self.start);
            self.told = self.told.max(upto);
        }
    }

    fn hear(&mut self, events: Vec<Event>) {
        let first = events.iter().map(revision_of).min().expect("there are some");
        let last = events.iter().map(revision_of).max().expect("there are some");
        assert!(self.compacted.is_none(), "r{first} after it was ended");
        assert!(first > self.told, "r{first}, and all up to r{} was told", self.told);
        assert!(events.is_sorted_by_key(revision_of), "{events:?}");
        self.told = last;
        self.events.extend(events);
    }
}
