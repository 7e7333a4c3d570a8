//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None`: not ours to handle.
    hangup: Option<Signal>,
    quit: Option<Signal>,
}

impl Signals {
    pub(crate) fn install() -> Result<Self, String> {
        let (hangup, quit) = (None, None);
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup,
            quit,
        })
    }

    /// With SIGHUP and SIGQUIT, which a terminal sends when it is closed or told to: for those who
    /// leave something behind if they end at once. SIGHUP stays ignored where it was (`nohup`).
    pub(crate) fn install_all() -> Result<Self, String> {
        let hangup = SignalKind::hangup();
        let hangup = (!is_ignored(hangup)).then(|| install(hangup)).transpose()?;
        let quit = Some(install(SignalKind::quit())?);
        Ok(Self { hangup, quit, ..Self::install()? })
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
            () = received(&mut self.hangup) => ("hangup", SignalKind::hangup()),
            () = received(&mut self.quit) => ("quit", SignalKind::quit()),
        };
        tracing::info!(signal = name, "received signal");
        kind
    }
}

fn install(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("cannot handle signals: {error}"))
}

/// The next one, or never.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored.
fn is_ignored(kind: SignalKind) -> bool {
    // proc_pid_status(5): a mask in hexadecimal, the lowest bit for signal 1.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (kind.as_raw_value() - 1)) & 1 == 1
}
