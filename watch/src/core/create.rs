//! A new watch.

use std::sync::Arc;
use store::planted::{self, Mistake};

use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::watch_create_request::FilterType;
use api::etcdserverpb::{ResponseHeader, WatchCreateRequest};

use super::{Core, StreamKey, Watcher, Watches};
use crate::CreateError;
use crate::target::Target;

/// The id of no watch: of refused ones, and of progress that speaks for a whole stream.
pub(crate) const NO_WATCH_ID: i64 = -1;

impl Core {
    pub(crate) fn create(
        &mut self,
        stream_key: StreamKey,
        request: &WatchCreateRequest,
    ) -> Result<i64, CreateError> {
        if request.start_revision < 0 {
            return Err(CreateError::NegativeStart);
        }
        let target = Target::parse(&request.key, &request.range_end)?;
        let key = self.new_key();
        // Under the lock, so it is not below what was dispatched.
        let source = self.source.get();
        let current = source.revision();
        let compacted = source.compact_revision();

        // A stream leaves the map only when its one owner, the caller, is dropped.
        let stream = self.streams.get_mut(&stream_key).expect("an open stream is in the map");
        let id = stream.watches.allocate(request.watch_id)?;
        stream.sink.push(EncodedWatchResponse { created: true, ..answer(current, id) });

        let start = request.start_revision;
        let is_silent = planted::is(Mistake::SilentCompaction);
        if start != 0 && start <= current && start < compacted && !is_silent {
            stream.watches.by_id.insert(id, None);
            stream.sink.push(ended_by_compaction(id, compacted));
            return Ok(id);
        }
        stream.watches.by_id.insert(id, Some(key));
        let filtered = |filter: FilterType| request.filters.contains(&i32::from(filter));
        let watcher = Watcher {
            stream: stream_key,
            sink: Arc::clone(&stream.sink),
            id,
            target,
            no_put: filtered(FilterType::Noput),
            no_delete: filtered(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            quiet: true,
            start,
            next: match start {
                0 => current + 1,
                start if is_silent => start.max(compacted),
                start => start,
            },
            behind: false,
        };
        self.register(key, watcher);
        Ok(id)
    }

    fn register(&mut self, key: u64, watcher: Watcher) {
        let (stream, next) = (watcher.stream, watcher.next);
        self.defer_progress(&watcher);
        if watcher.progress_notify {
            self.plan_notify(stream, key);
        }
        let synced = next > self.revision;
        if synced {
            self.index.insert(&watcher.target, key);
        }
        self.watchers.insert(key, watcher);
        if !synced {
            self.fall_behind(key, next);
        }
    }

    pub(crate) fn refuse(&mut self, stream: StreamKey, reason: String) {
        let current = self.source.get().revision();
        if let Some(stream) = self.streams.get(&stream) {
            stream.sink.push(EncodedWatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason,
                ..answer(current, NO_WATCH_ID)
            });
        }
    }
}

impl Watches {
    /// 0 asks for the next free id; ids are not used again unless the client names them.
    fn allocate(&mut self, asked: i64) -> Result<i64, CreateError> {
        if asked != 0 {
            let taken = self.by_id.contains_key(&asked);
            return if taken { Err(CreateError::DuplicateId) } else { Ok(asked) };
        }
        while self.by_id.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }
}

pub(crate) fn answer(revision: i64, watch_id: i64) -> EncodedWatchResponse {
    let header = Some(ResponseHeader { revision, ..Default::default() });
    EncodedWatchResponse { header, watch_id, ..Default::default() }
}

/// etcd leaves the revision of this header 0.
pub(crate) fn ended_by_compaction(watch_id: i64, compact_revision: i64) -> EncodedWatchResponse {
    EncodedWatchResponse { canceled: true, compact_revision, ..answer(0, watch_id) }
}
