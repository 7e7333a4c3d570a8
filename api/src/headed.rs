use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

use crate::etcdserverpb::ResponseHeader;

/// An answer whose header is encoded once for many: the same bytes on the wire as `message` with that
/// header in its field 1, where every answer of etcd's has it.
#[derive(Clone, Debug, Default)]
pub struct Headed<M> {
    /// From [`encode_header`].
    pub header: Bytes,
    /// Its own header is `None`.
    pub message: M,
}

/// Encodes a header as the first field of an answer.
pub fn encode_header(header: &ResponseHeader) -> Bytes {
    const HEADER: u32 = 1;
    let mut encoded = Vec::with_capacity(prost::encoding::message::encoded_len(HEADER, header));
    prost::encoding::message::encode(HEADER, header, &mut encoded);
    encoded.into()
}

impl<M: Message> Message for Headed<M> {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.header);
        self.message.encode_raw(buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.message.merge_field(tag, wire_type, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.header.len() + self.message.encoded_len()
    }

    fn clear(&mut self) {
        self.header.clear();
        self.message.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdserverpb::{RangeResponse, WatchResponse};

    #[test]
    fn the_bytes_are_those_of_the_answer_with_its_header() {
        // Proves it for a header that says all there is and for one that says nothing.
        for revision in [0, 7, i64::MAX] {
            let header =
                ResponseHeader { cluster_id: u64::MAX, member_id: 3, revision, raft_term: 2 };
            for header in [header, ResponseHeader::default()] {
                let message = WatchResponse { watch_id: -1, created: true, ..Default::default() };
                let headed = Headed { header: encode_header(&header), message: message.clone() };
                let whole = WatchResponse { header: Some(header), ..message };
                assert_eq!(headed.encoded_len(), whole.encoded_len());
                assert_eq!(headed.encode_to_vec(), whole.encode_to_vec());
            }
        }
        let empty = Headed::<RangeResponse>::default();
        assert_eq!(empty.encode_to_vec(), RangeResponse::default().encode_to_vec());
    }
}
