//! The KV service over a node.

use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{AlarmRequest, AlarmType, LeaseGrantRequest, RangeStreamResponse};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http_body_util::BodyExt;
use prost::Message;
use tonic::Code;

use super::*;
use crate::grpc::frame;
use crate::grpc::large_range;
use crate::grpc::testing::{Home, home};

const VALUE_BYTES: usize = 8 << 10;

struct Fixture {
    kv: Kv,
    _home: Home,
}

async fn fixture(quota_bytes: Option<u64>) -> Fixture {
    let home = home(quota_bytes).await;
    Fixture { kv: Kv { context: home.context.clone() }, _home: home }
}

impl Fixture {
    async fn put(&self, key: &str, value_len: usize) -> Result<PutResponse, Status> {
        let value = vec![b'v'; value_len].into();
        let key = Bytes::copy_from_slice(key.as_bytes());
        let put = PutRequest { key, value, ..Default::default() };
        Ok(self.kv.put(Request::new(put)).await?.into_inner())
    }

    async fn fill(&self, count: usize) {
        for number in 0..count {
            self.put(&format!("k/{number:04}"), VALUE_BYTES).await.unwrap();
        }
    }

    /// What a network client gets for `range`: the frames of the body, joined, and how many.
    async fn call(&self, range: &RangeRequest) -> (Bytes, usize) {
        let mut framed = BytesMut::new();
        frame::put_head(&mut framed, range.encoded_len());
        range.encode(&mut framed).unwrap();
        let request = http::Request::new(Body::from(framed.freeze()));
        let mut body = large_range::serve(self.kv.clone(), request).await.into_body();
        let (mut data, mut count, mut status) = (BytesMut::new(), 0, None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(piece) => {
                    data.extend_from_slice(&piece);
                    count += 1;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    status = trailers.get("grpc-status").cloned();
                }
            }
        }
        assert_eq!(status.unwrap(), "0");
        (data.freeze(), count)
    }

    /// Asserts that the frames join to exactly the one that one encoding would give; how many.
    async fn same_as_whole(&self, range: &RangeRequest) -> usize {
        let whole = self.kv.range(Request::new(range.clone())).await.unwrap().into_inner();
        let mut expected = BytesMut::new();
        frame::put_head(&mut expected, whole.encoded_len());
        whole.encode(&mut expected).unwrap();
        let (data, frames) = self.call(range).await;
        assert!(data == expected.freeze(), "{range:?}");
        frames
    }
}

fn everything() -> RangeRequest {
    let all = Bytes::from_static(b"\0");
    RangeRequest { key: all.clone(), range_end: all, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_goes_out_in_pieces_and_is_the_same() {
    // Shows that pieces join to exactly the frame that one encoding would give, with a limit too,
    // and that a small answer is one piece.
    let fixture = fixture(None).await;
    fixture.fill(300).await;
    let limited = RangeRequest { limit: 200, ..everything() };
    let small = RangeRequest { limit: 3, ..everything() };
    for (range, in_pieces) in [(everything(), true), (limited, true), (small, false)] {
        let pieces = fixture.same_as_whole(&range).await;
        assert_eq!(pieces > 1, in_pieces);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_go_out_as_they_are() {
    // Shows that the answer is the same where values are not copied, beside small and empty ones,
    // with a lease behind the value, with few of them and with more than are made at once.
    let fixture = fixture(None).await;
    let grant = LeaseGrantRequest { ttl: 600, id: 7 };
    fixture.kv.context.propose(None, Op::LeaseGrant(grant)).await.unwrap();
    for (number, len) in [100_000, 0, 16 << 10, 10, (16 << 10) - 1, 1 << 20].into_iter().enumerate()
    {
        let (key, value) = (format!("k/{number}").into(), vec![b'v'; len].into());
        let lease = if number % 2 == 0 { 7 } else { 0 };
        let put = PutRequest { key, value, lease, ..Default::default() };
        fixture.kv.put(Request::new(put)).await.unwrap();
    }
    fixture.same_as_whole(&everything()).await;
    for number in 0..6 {
        let one = RangeRequest { key: format!("k/{number}").into(), ..Default::default() };
        fixture.same_as_whole(&one).await;
    }
    for number in 0..40 {
        fixture.put(&format!("more/{number}"), 200_000).await.unwrap();
    }
    fixture.same_as_whole(&everything()).await;
    fixture.same_as_whole(&RangeRequest { keys_only: true, ..everything() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_merges_into_what_range_answers() {
    // Shows the shape that clients rely on: ten keys first, then chunks bounded in bytes; header,
    // more and count at the end only.
    let fixture = fixture(None).await;
    fixture.fill(400).await;
    for range in [everything(), RangeRequest { limit: 390, ..everything() }] {
        let whole = fixture.kv.range(Request::new(range.clone())).await.unwrap().into_inner();
        let stream = fixture.kv.range_stream(Request::new(range)).await.unwrap().into_inner();
        let chunks: Vec<RangeStreamResponse> = stream.map(Result::unwrap).collect().await;
        let chunks: Vec<_> = chunks.into_iter().map(|it| it.range_response.unwrap()).collect();
        let (last, rest) = chunks.split_last().unwrap();
        assert_eq!(rest[0].kvs.len(), 10);
        assert!(rest.len() > 1);
        for chunk in rest {
            assert_eq!((chunk.header, chunk.more, chunk.count), (None, false, 0));
            assert!(chunk.encoded_len() <= fixture.kv.context.request_bytes_max() + VALUE_BYTES);
        }
        let kvs = chunks.iter().flat_map(|chunk| chunk.kvs.clone()).collect();
        assert_eq!(RangeResponse { kvs, ..last.clone() }, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_nothing_is_one_answer() {
    // Shows that a client gets a header even if no key is in the range, or only their count.
    let fixture = fixture(None).await;
    fixture.fill(2).await;
    let nothing = RangeRequest { key: "x".into(), ..Default::default() };
    let counted = RangeRequest { count_only: true, ..everything() };
    for (range, count) in [(nothing, 0), (counted, 2)] {
        let stream = fixture.kv.range_stream(Request::new(range)).await.unwrap().into_inner();
        let chunks: Vec<_> = stream.map(Result::unwrap).collect().await;
        let [only] = chunks.as_slice() else { panic!("{chunks:?}") };
        let only = only.range_response.as_ref().unwrap();
        let header = only.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision), (2, 1, 3));
        assert_eq!((only.more, only.count, only.kvs.len()), (false, count, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_stops_puts_and_nothing_else() {
    // Shows the alarm, what is still served, and that compaction makes room again.
    let fixture = fixture(Some(64 << 10)).await;
    let context = &fixture.kv.context;
    let mut refused = None;
    for _ in 0..16 {
        refused = refused.or(fixture.put("k", VALUE_BYTES).await.err());
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    assert_eq!(context.node().reader().alarms().len(), 1);

    fixture.kv.range(Request::new(everything())).await.unwrap();
    let delete = DeleteRangeRequest { key: "k".into(), ..Default::default() };
    fixture.kv.delete_range(Request::new(delete)).await.unwrap();
    let revision = context.node().reader().revision();
    let compaction = CompactionRequest { revision, physical: true };
    fixture.kv.compact(Request::new(compaction)).await.unwrap();
    // There is room, but the alarm stands until it is disarmed.
    assert!(fixture.put("k", 1).await.is_err());
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate as i32,
        member_id: 1,
        alarm: AlarmType::Nospace as i32,
    };
    context.propose(None, Op::Alarm(disarm)).await.unwrap();
    fixture.put("k", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_above_the_limit_changes_nothing() {
    // Shows that the limit counts the proposal, and what is told.
    let fixture = fixture(None).await;
    let len_max = fixture.kv.context.request_bytes_max();
    let refused = fixture.put("k", len_max).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: request is too large");
    assert_eq!(fixture.kv.context.node().reader().revision(), 1);
    fixture.put("k", len_max - 100).await.unwrap();
}
