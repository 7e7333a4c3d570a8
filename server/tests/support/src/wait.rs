//! Waiting for something to become true, for a bounded time.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Probes until the answer is `Ok`, and returns it.
///
/// # Panics
/// When `limit_s` seconds were not enough; the message has the last reason.
pub async fn eventually<T>(
    what: &str,
    limit_s: u64,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(limit_s);
    loop {
        match probe().await {
            Ok(found) => return found,
            Err(reason) if Instant::now() > deadline => {
                panic!("{what}: not within {limit_s} s: {reason}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
