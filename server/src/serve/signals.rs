//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn install() -> Result<Self, String> {
        let install =
            |kind| signal(kind).map_err(|error| format!("cannot handle signals: {error}"));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    /// Resolves with the first signal. Cancel safe. Afterwards another signal ends the process at
    /// once: whoever sends it does not want to wait, and all that was acknowledged is on disk.
    pub(crate) async fn stop(&mut self) {
        self.next().await;
        if let Ok(mut again) = Self::install() {
            tokio::spawn(async move {
                again.next().await;
                std::process::exit(1);
            });
        }
    }

    /// Resolves with the next signal, whichever it is, and leaves those after it to whoever asks
    /// again. Cancel safe.
    pub(crate) async fn next(&mut self) {
        self.next_kind().await;
    }

    /// The same, and says which it was.
    pub(crate) async fn next_kind(&mut self) -> SignalKind {
        let (name, kind) = tokio::select! {
            _ = self.terminate.recv() => ("terminated", SignalKind::terminate()),
            _ = self.interrupt.recv() => ("interrupt", SignalKind::interrupt()),
        };
        tracing::info!(signal = name, "received signal");
        kind
    }
}
