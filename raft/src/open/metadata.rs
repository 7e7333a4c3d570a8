//! What the log's metadata says about whose log it is.
//!
//! ```text
//! 0   4  version of what is in the log (codec.rs), u32 big endian (1)
//! 4   8  cluster id, u64 big endian
//! 12  8  member id, u64 big endian
//! ```

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::Error;

const VERSION: u32 = 1;
const BYTES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
}

impl Metadata {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(BYTES);
        out.put_u32(VERSION);
        out.put_u64(self.cluster_id);
        out.put_u64(self.member_id);
        out.freeze()
    }

    /// Refuses a log of a newer version, another cluster or another member.
    pub(crate) fn check(self, found: &[u8], dir: &Path) -> Result<(), Error> {
        let dir = dir.display();
        let refused = |message: String| Err(Error::Refused(message));
        let mut rest = found;
        match rest.try_get_u32() {
            Ok(VERSION) if found.len() == BYTES => {}
            Ok(newer) if newer > VERSION => {
                return refused(format!(
                    "the log in {dir} is of version {newer}, written by a newer berth; this one \
                     reads version {VERSION}: run the newer one"
                ));
            }
            _ => return refused(format!("{dir} holds a log, but not one of berth's")),
        }
        let (cluster_id, member_id) = (rest.get_u64(), rest.get_u64());
        if cluster_id != self.cluster_id {
            return refused(format!(
                "the log in {dir} belongs to cluster {cluster_id:x}, and this member is of cluster \
                 {:x}: check name, initial-cluster and initial-cluster-token",
                self.cluster_id
            ));
        }
        if member_id != self.member_id {
            return refused(format!(
                "the log in {dir} belongs to member {member_id:x}, and this is member {:x}",
                self.member_id
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_log_is_accepted() {
        // Proves that each kind of foreign log is refused with words that tell which it is.
        let own = Metadata { cluster_id: 0xc1, member_id: 0x3e };
        let check = |bytes: &[u8]| own.check(bytes, Path::new("w")).map_err(|e| e.to_string());
        assert_eq!(check(&own.encode()), Ok(()));
        let other_cluster = Metadata { cluster_id: 0xc2, ..own }.encode();
        assert!(check(&other_cluster).unwrap_err().contains("cluster c2"));
        let other_member = Metadata { member_id: 0x3f, ..own }.encode();
        assert!(check(&other_member).unwrap_err().contains("member 3f"));
        assert!(check(&[0, 0, 0, 2]).unwrap_err().contains("newer"));
        assert!(check(b"").unwrap_err().contains("not one of berth's"));
        assert!(check(&[0, 0, 0, 1, 9]).unwrap_err().contains("not one of berth's"));
    }
}
