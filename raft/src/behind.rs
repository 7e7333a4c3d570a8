//! What follows behind the apply path: writing to the engine, physical compaction, snapshots.
//!
//! Apply only raises signals here; the tasks that answer them are in `background.rs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fail::fail_point;
use parking_lot::{Mutex, RwLock};
use store::engine::Engine;
use store::{Compactor, Error, Flusher, Reader, Store};

use crate::failure::Failure;
use crate::signal::Signal;

/// Shared by the state machine, the background tasks and the node.
pub(crate) struct Behind {
    handles: RwLock<Handles>,
    /// Held by whoever writes to the engine, so that none of it lands in a state that replaced it.
    engine_turn: Mutex<()>,
    /// It failed, or lost something.
    engine_doubted: AtomicBool,
    /// How far the log is durable.
    durable: Durable,
    pub(crate) flush: Signal,
    pub(crate) compact: Signal,
    pub(crate) snapshot: Signal,
    pub(crate) failure: Failure,
}

/// The index of the last log entry that is durable, counted from 1 as the store counts.
type Durable = Box<dyn Fn() -> u64 + Send + Sync>;

/// Of the store that is current: an installed snapshot brings another.
#[derive(Clone)]
struct Handles {
    reader: Reader,
    flusher: Arc<Flusher>,
    compactor: Arc<Compactor>,
}

impl Behind {
    pub(crate) fn new(store: &Store, durable: Durable) -> Behind {
        Behind {
            handles: RwLock::new(Handles::of(store)),
            engine_turn: Mutex::new(()),
            engine_doubted: AtomicBool::new(false),
            durable,
            flush: Signal::default(),
            compact: Signal::default(),
            snapshot: Signal::default(),
            failure: Failure::default(),
        }
    }

    pub(crate) fn reader(&self) -> Reader {
        self.handles.read().reader.clone()
    }

    /// Bytes applied and not yet in the engine.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.handles.read().flusher.pending_bytes()
    }

    /// Writes to the engine what is pending, as far as the log is durable: a follower applies what
    /// others have made durable before its own sync has ended. So an engine that knows more than
    /// the log proves, at the next start, that the log lost something. Blocks.
    pub(crate) fn flush_all(&self) -> Result<(), Error> {
        loop {
            fail_point!("beforeStartDBTxn");
            let _turn = self.engine_turn.lock();
            fail_point!("afterStartDBTxn");
            let flusher = self.handles.read().flusher.clone();
            if !flush_batch(&flusher, (self.durable)())? {
                return Ok(());
            }
        }
    }

    /// One step of physical compaction; true if there is more to do at once. Blocks.
    pub(crate) fn compact_step(&self, keys_max: usize) -> Result<bool, Error> {
        let turn = self.engine_turn.lock();
        let compactor = self.handles.read().compactor.clone();
        if !compactor.is_due() {
            return Ok(false);
        }
        fail_point!("compactAfterAcquiredBatchTxLock");
        fail_point!("compactBeforeCommitBatch");
        let more = compactor.step(keys_max)?;
        fail_point!("compactAfterCommitBatch");
        if !more {
            fail_point!("compactBeforeSetFinishedCompact");
            drop(turn);
            fail_point!("compactAfterSetFinishedCompact");
        }
        Ok(more)
    }

    /// Puts the store that `restore` makes in place of the current one, on the same engine. Blocks.
    pub(crate) fn replace(
        &self,
        restore: impl FnOnce() -> Result<Store, Error>,
    ) -> io::Result<Store> {
        let _turn = self.engine_turn.lock();
        // Whoever still reads the old state must not take the new one's records for its own; and if
        // restoring fails, what the old one has pending must not follow into what is there then.
        self.handles.read().flusher.retire();
        let store = restore().map_err(io::Error::other)?;
        *self.handles.write() = Handles::of(&store);
        Ok(store)
    }

    /// The node cannot go on, because the engine failed or lost something. What it is told.
    pub(crate) fn engine_failed(&self, error: &str) -> String {
        self.engine_doubted.store(true, Ordering::Release);
        let message = format!(
            "{error}. Nothing is lost: the engine is rebuilt from the snapshot and the log at the \
             next start. Check the disk (space, permissions, the kernel's log), then start berth \
             again"
        );
        self.failure.set(message.clone());
        message
    }

    /// Leaves the engine as the next start should find it: with everything that was applied, or
    /// empty if it is in doubt, because one that lost a value opens without complaint. One that
    /// failed, whoever saw it first, takes nothing any more and is in doubt. Blocks.
    pub(crate) fn leave(&self, engine: &dyn Engine) -> io::Result<()> {
        if !self.engine_doubted.load(Ordering::Acquire)
            && self.flush_all().is_ok()
            && engine.flush().is_ok()
        {
            return Ok(());
        }
        let _turn = self.engine_turn.lock();
        self.handles.read().flusher.retire();
        engine.clear()
    }

    /// Ends the background tasks.
    pub(crate) fn close(&self) {
        self.flush.close();
        self.compact.close();
        self.snapshot.close();
    }
}

/// One batch; false if there was nothing to write. The mark of how far the log was applied is made
/// with the batch, inside of the store, so that what etcd does in a hook is no place of its own here.
fn flush_batch(flusher: &Flusher, index_max: u64) -> Result<bool, Error> {
    fail_point!("commitBeforePreCommitHook");
    fail_point!("commitAfterPreCommitHook");
    fail_point!("beforeCommit");
    let written = flusher.flush_upto(index_max)?;
    if written {
        fail_point!("afterCommit");
    }
    Ok(written)
}

impl Handles {
    fn of(store: &Store) -> Handles {
        Handles {
            reader: store.reader(),
            flusher: Arc::new(store.flusher()),
            compactor: Arc::new(store.compactor()),
        }
    }
}
