//! The entry for fuzzing: requests from bytes that nobody wrote.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;

use crate::berthpb::{Command, EncodedWatchResponse};
use crate::etcdserverpb::*;
use crate::v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use crate::v3lockpb::{LockRequest, UnlockRequest};

macro_rules! decoders {
    ($($message:ty,)*) => { &[$(round_trip::<$message>,)*] };
}

/// Every message that a client may send, and what the log holds. The order is the corpus's: add at
/// the end.
const DECODERS: &[fn(Bytes)] = decoders! {
    Command,
    RangeRequest,
    PutRequest,
    DeleteRangeRequest,
    TxnRequest,
    CompactionRequest,
    HashRequest,
    HashKvRequest,
    SnapshotRequest,
    WatchRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    LeaseCheckpointRequest,
    LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest,
    LeaseLeasesRequest,
    MemberAddRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MemberListRequest,
    MemberPromoteRequest,
    DefragmentRequest,
    MoveLeaderRequest,
    AlarmRequest,
    DowngradeRequest,
    DowngradeVersionTestRequest,
    StatusRequest,
    AuthEnableRequest,
    AuthDisableRequest,
    AuthStatusRequest,
    AuthenticateRequest,
    AuthUserAddRequest,
    AuthUserGetRequest,
    AuthUserDeleteRequest,
    AuthUserChangePasswordRequest,
    AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest,
    AuthRoleAddRequest,
    AuthRoleGetRequest,
    AuthUserListRequest,
    AuthRoleListRequest,
    AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest,
    WatchResponse,
    LockRequest,
    UnlockRequest,
    CampaignRequest,
    ProclaimRequest,
    LeaderRequest,
    ResignRequest,
};

/// Decodes arbitrary bytes as the message that the first byte chooses.
///
/// Decoding must answer or refuse, never panic; what it takes must encode to bytes that mean the
/// same. An event stream must be the same in berth's half-encoded form.
pub fn decode_arbitrary(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let rest = Bytes::copy_from_slice(rest);
    half_encoded(rest.clone());
    if let Some(decode) = DECODERS.get(usize::from(choice)) {
        decode(rest);
    }
}

fn round_trip<M: Message + Default + PartialEq + Debug>(data: Bytes) {
    let Ok(message) = M::decode(data) else { return };
    let encoded = Bytes::from(message.encode_to_vec());
    assert_eq!(encoded.len(), message.encoded_len());
    let again = M::decode(encoded).expect("what was encoded can be decoded");
    assert!(again == message, "{message:?} became {again:?}");
}

fn half_encoded(data: Bytes) {
    let Ok(response) = WatchResponse::decode(data) else { return };
    let encoded = Bytes::from(response.encode_to_vec());
    let half = EncodedWatchResponse::decode(encoded.clone()).expect("the fields are the same");
    assert_eq!(half.events.len(), response.events.len());
    assert_eq!(half.encode_to_vec(), encoded);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/request_decode");
        let mut chosen = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            decode_arbitrary(&data);
            chosen.extend(data.first().copied());
        }
        assert!(chosen.len() >= DECODERS.len(), "the corpus has each message at least once");
    }
}
