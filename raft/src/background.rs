//! The tasks behind the apply path. Each ends when its signal is closed, or with the node's
//! failure.

use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::async_runtime::Select2;

use crate::behind::Behind;

/// Pending bytes past which apply waits for the engine.
pub(crate) const PENDING_BYTES_MAX: usize = 128 << 20;

/// Pending bytes past which large commands wait for the engine, so that apply, for which all wait,
/// need not.
const PENDING_BYTES_EASY: usize = PENDING_BYTES_MAX / 4;

/// How long one waits at most: what is pending may all be of small ones, which go on coming.
const EASE_TURNS_MAX: usize = 50;

/// How long changes gather before they are written to the engine as one batch.
const FLUSH_GATHER: Duration = Duration::from_millis(20);

/// Keys that one step of physical compaction looks at.
const COMPACT_KEYS_MAX: usize = 1000;

/// The pause after each step: compaction takes a small share of a core and of the engine.
const COMPACT_PAUSE: Duration = Duration::from_millis(5);

/// When a compaction that had to wait for a reader is tried again.
const COMPACT_RETRY: Duration = Duration::from_secs(10);

/// Writes applied changes to the engine, off the path of the answer.
pub(crate) async fn flush<R: AsyncRuntime>(behind: Arc<Behind>) {
    while behind.flush.wait().await {
        R::sleep(FLUSH_GATHER).await;
        let turn = behind.clone();
        let flushed = R::spawn_blocking(move || turn.flush_all()).await;
        if !went_well(&behind, flushed) {
            return;
        }
        // What the log has not synced yet is written the next time.
        if behind.pending_bytes() > 0 && behind.failure.get().is_none() {
            behind.flush.raise();
        }
    }
}

/// Removes compacted versions, a few at a time.
pub(crate) async fn compact<R: AsyncRuntime>(behind: Arc<Behind>) {
    loop {
        let called = R::select2(behind.compact.wait(), R::sleep(COMPACT_RETRY)).await;
        if matches!(called, Select2::First(false)) {
            return;
        }
        while compact_step::<R>(&behind).await {
            R::sleep(COMPACT_PAUSE).await;
        }
        if behind.failure.get().is_some() {
            return;
        }
    }
}

/// Removes compacted versions without pauses. The engine has to know of a compaction first.
pub(crate) async fn compact_now<R: AsyncRuntime>(behind: &Arc<Behind>) {
    let turn = behind.clone();
    let flushed = R::spawn_blocking(move || turn.flush_all()).await;
    if !went_well(behind, flushed) {
        return;
    }
    while compact_step::<R>(behind).await {}
}

/// True if there is more to do at once.
async fn compact_step<R: AsyncRuntime>(behind: &Arc<Behind>) -> bool {
    let turn = behind.clone();
    let step = R::spawn_blocking(move || turn.compact_step(COMPACT_KEYS_MAX)).await;
    let more = matches!(step, Ok(Ok(true)));
    went_well(behind, step) && more
}

/// Waits while too much is pending; false if the engine failed.
pub(crate) async fn wait_for_room<R: AsyncRuntime>(behind: &Behind) -> bool {
    while behind.pending_bytes() > PENDING_BYTES_MAX {
        if behind.failure.get().is_some() {
            return false;
        }
        behind.flush.raise();
        R::sleep(FLUSH_GATHER).await;
    }
    true
}

/// Waits, for a while, until little is pending.
pub(crate) async fn wait_for_engine<R: AsyncRuntime>(behind: &Behind) {
    for _ in 0..EASE_TURNS_MAX {
        if behind.pending_bytes() <= PENDING_BYTES_EASY || behind.failure.get().is_some() {
            return;
        }
        behind.flush.raise();
        R::sleep(FLUSH_GATHER).await;
    }
}

fn went_well<T>(behind: &Behind, result: std::io::Result<Result<T, store::Error>>) -> bool {
    let error = match result {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    behind.engine_failed(&error);
    false
}
