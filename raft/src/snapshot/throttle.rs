use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Bytes that go through between two looks at the clock.
const SLICE_BYTES: u64 = 1 << 20;

/// A writer that is no faster than it may be, so that a snapshot leaves the disk to the log.
///
/// It sleeps on the thread it is called on.
pub(super) struct Throttle<W> {
    inner: W,
    /// `None`: as fast as it goes.
    bytes_per_s_max: Option<u64>,
    started: Instant,
    written: u64,
    next_look: u64,
}

impl<W: Write> Throttle<W> {
    pub(super) fn new(inner: W, bytes_per_s_max: Option<u64>) -> Throttle<W> {
        Throttle {
            inner,
            bytes_per_s_max,
            started: Instant::now(),
            written: 0,
            next_look: SLICE_BYTES,
        }
    }

    fn pause(&mut self) {
        let Some(rate) = self.bytes_per_s_max else { return };
        if self.written < self.next_look {
            return;
        }
        self.next_look = self.written + SLICE_BYTES;
        let due = Duration::from_millis(self.written.saturating_mul(1000) / rate.max(1));
        if let Some(ahead) = due.checked_sub(self.started.elapsed()) {
            std::thread::sleep(ahead);
        }
    }
}

impl<W: Write> Write for Throttle<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pause();
        let count = self.inner.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
