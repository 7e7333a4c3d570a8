//! From a source that blocks to a client that may be slow.
//!
//! What large answers are made of (a plan, a revision that must not be compacted) is held only as
//! long as the client goes on taking them: one that stops reading, on a connection that lives, is
//! cut off.

use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::mpsc;

use super::errors::Error;
use super::turns::Turns;

/// How long a client may take for one item.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// Items made before the client takes them; one more is in the making.
const AHEAD: usize = 1;

/// Gives a stream of what `next` answers until it answers `None`. Each call takes a turn among
/// `readers`, so that a long answer does not keep others from theirs. A stream that ends early, for
/// whatever reason, ends with an error.
pub(super) fn feed<T, F>(
    readers: Turns,
    next: F,
    stall_max: Duration,
) -> impl Stream<Item = Result<T, Error>> + use<T, F>
where
    T: Send + 'static,
    F: FnMut() -> Result<Option<T>, store::Error> + Send + 'static,
{
    let (tx, rx) = mpsc::channel(AHEAD);
    tokio::spawn(pump(readers, next, tx, stall_max));
    stream::unfold(Some(rx), async |rx| {
        let mut rx: mpsc::Receiver<Result<Option<T>, Error>> = rx?;
        match rx.recv().await {
            Some(Ok(Some(item))) => Some((Ok(item), Some(rx))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(Error::Internal("the client took too long".to_owned())), None)),
        }
    })
}

async fn pump<T, F>(
    readers: Turns,
    mut next: F,
    tx: mpsc::Sender<Result<Option<T>, Error>>,
    stall_max: Duration,
) where
    T: Send + 'static,
    F: FnMut() -> Result<Option<T>, store::Error> + Send + 'static,
{
    loop {
        let made = readers.run(move || (next(), next)).await;
        let (item, more) = match made {
            Ok((item, source)) => {
                next = source;
                let more = matches!(item, Ok(Some(_)));
                (item.map_err(Error::from), more)
            }
            Err(error) => {
                // Nothing to go on with; the closed channel tells the client.
                tracing::error!(?error, "reading for a client failed");
                return;
            }
        };
        if tx.send_timeout(item, stall_max).await.is_err() || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::StreamExt;

    use super::*;

    fn count_to(last: u32) -> impl FnMut() -> Result<Option<u32>, store::Error> {
        let mut number = 0;
        move || {
            number += 1;
            Ok((number <= last).then_some(number))
        }
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        // Shows a client that reads, of nothing and of something.
        for last in [0, 5] {
            let items: Vec<_> = feed(Turns::per_core(1), count_to(last), STALL_MAX).collect().await;
            assert_eq!(items, (1..=last).map(Ok).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_failure_ends_the_stream_as_one() {
        // Shows that what broke off cannot be taken for what is complete.
        let mut count = count_to(2);
        let failing = move || match count()? {
            Some(number) => Ok(Some(number)),
            None => Err(store::Error::Compacted),
        };
        let items: Vec<_> = feed(Turns::per_core(1), failing, STALL_MAX).collect().await;
        assert_eq!(items, [Ok(1), Ok(2), Err(store::Error::Compacted.into())]);
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_holds_nothing() {
        // Shows that the source goes while the stream is still there, and that the stream then
        // ends with an error.
        let held = Arc::new(());
        let (inside, mut count) = (held.clone(), count_to(100));
        let source = move || {
            let _held = &inside;
            count()
        };
        let stream = feed(Turns::per_core(1), source, Duration::from_millis(10));
        while Arc::strong_count(&held) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let items: Vec<_> = stream.collect().await;
        assert!(items.len() < 10 && items.last().is_some_and(Result::is_err), "{items:?}");
    }
}
