//! Splitting a response for clients that asked for it.

use std::collections::VecDeque;

use api::berthpb::EncodedWatchResponse;
use bytes::Bytes;

/// What a response may take besides its events, in bytes: header and watch id, rounded up.
const RESPONSE_OVERHEAD_BYTES: usize = 64;
/// Tag and length of one event, rounded up.
const EVENT_OVERHEAD_BYTES: usize = 6;

/// Parts below `bytes_max`, each with at least one event; all but the last say `fragment`.
pub(crate) fn fragments(
    whole: EncodedWatchResponse,
    bytes_max: usize,
) -> VecDeque<EncodedWatchResponse> {
    let size = |event: &Bytes| event.len() + EVENT_OVERHEAD_BYTES;
    let total = RESPONSE_OVERHEAD_BYTES + whole.events.iter().map(size).sum::<usize>();
    if total < bytes_max || whole.events.len() < 2 {
        return VecDeque::from([whole]);
    }
    let head = EncodedWatchResponse { events: Vec::new(), fragment: true, ..whole };
    let mut parts = VecDeque::from([head.clone()]);
    let mut bytes = RESPONSE_OVERHEAD_BYTES;
    for event in whole.events {
        if bytes > RESPONSE_OVERHEAD_BYTES && bytes + size(&event) >= bytes_max {
            parts.push_back(head.clone());
            bytes = RESPONSE_OVERHEAD_BYTES;
        }
        bytes += size(&event);
        if let Some(part) = parts.back_mut() {
            part.events.push(event);
        }
    }
    if let Some(last) = parts.back_mut() {
        last.fragment = false;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(sizes: &[usize], bytes_max: usize) -> Vec<(Vec<usize>, bool)> {
        let events = sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect();
        let whole = EncodedWatchResponse { events, watch_id: 7, ..Default::default() };
        let parts = fragments(whole, bytes_max).into_iter();
        parts
            .map(|part| {
                assert_eq!(part.watch_id, 7);
                (part.events.iter().map(Bytes::len).collect(), part.fragment)
            })
            .collect()
    }

    /// Proves that parts stay below the limit, keep order, and never go below one event.
    #[test]
    fn splits_at_the_limit_and_never_below_one_event() {
        assert_eq!(split(&[10, 10], 1000), [(vec![10, 10], false)]);
        assert_eq!(split(&[5000], 1000), [(vec![5000], false)]);
        assert_eq!(
            split(&[400, 400, 400, 5000, 1, 1], 1000),
            [(vec![400, 400], true), (vec![400], true), (vec![5000], true), (vec![1, 1], false)]
        );
    }
}
