//! What the log's metadata says about whose log it is.
//!
//! ```text
//! 0   4  version of what is in the log (codec.rs), u32 big endian (2)
//! 4   8  cluster id, u64 big endian
//! 12  8  member id, u64 big endian
//! 20  8  incarnation, u64 big endian; not in version 1
//! ```

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::Error;

const VERSION: u32 = 2;
const BYTES: usize = 28;
/// The same without an incarnation.
const VERSION_1: u32 = 1;
const BYTES_1: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// Chosen at random with the directory; 0 in one of version 1.
    pub(crate) incarnation: u64,
}

impl Metadata {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(BYTES);
        out.put_u32(VERSION);
        out.put_u64(self.cluster_id);
        out.put_u64(self.member_id);
        out.put_u64(self.incarnation);
        out.freeze()
    }

    /// What `found` in the log in `dir` says.
    ///
    /// # Errors
    /// It is of a newer version, or none of ours.
    pub(crate) fn decode(found: &[u8], dir: &Path) -> Result<Metadata, Error> {
        let dir = dir.display();
        let refused = |message: String| Err(Error::Refused(message));
        let mut rest = found;
        let version = match (rest.try_get_u32(), found.len()) {
            (Ok(VERSION), BYTES) => VERSION,
            (Ok(VERSION_1), BYTES_1) => VERSION_1,
            (Ok(newer), _) if newer > VERSION => {
                return refused(format!(
                    "the log in {dir} is of version {newer}, written by a newer berth; this one \
                     reads version {VERSION}: run the newer one"
                ));
            }
            _ => return refused(format!("{dir} holds a log, but not one of berth's")),
        };
        let (cluster_id, member_id) = (rest.get_u64(), rest.get_u64());
        let incarnation = if version == VERSION_1 { 0 } else { rest.get_u64() };
        Ok(Metadata { cluster_id, member_id, incarnation })
    }

    /// Refuses another cluster's or another member's log.
    pub(super) fn check(self, found: Metadata, dir: &Path) -> Result<(), Error> {
        let dir = dir.display();
        if found.cluster_id != self.cluster_id {
            return Err(Error::Refused(format!(
                "the log in {dir} belongs to cluster {:x}, and this member is of cluster {:x}: \
                 check name, initial-cluster and initial-cluster-token",
                found.cluster_id, self.cluster_id
            )));
        }
        if found.member_id != self.member_id {
            return Err(Error::Refused(format!(
                "the log in {dir} belongs to member {:x}, and this is member {:x}",
                found.member_id, self.member_id
            )));
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
        let own = Metadata { cluster_id: 0xc1, member_id: 0x3e, incarnation: 7 };
        let check = |bytes: &[u8]| {
            let dir = Path::new("w");
            let found = Metadata::decode(bytes, dir).and_then(|found| own.check(found, dir));
            found.map_err(|e| e.to_string())
        };
        assert_eq!(check(&own.encode()), Ok(()));
        assert_eq!(check(&Metadata { incarnation: 8, ..own }.encode()), Ok(()));
        let other_cluster = Metadata { cluster_id: 0xc2, ..own }.encode();
        assert!(check(&other_cluster).unwrap_err().contains("cluster c2"));
        let other_member = Metadata { member_id: 0x3f, ..own }.encode();
        assert!(check(&other_member).unwrap_err().contains("member 3f"));
        assert!(check(&[0, 0, 0, 3]).unwrap_err().contains("newer"));
        assert!(check(b"").unwrap_err().contains("not one of berth's"));
        assert!(check(&[0, 0, 0, 1, 9]).unwrap_err().contains("not one of berth's"));
    }

    #[test]
    fn a_log_of_the_first_version_is_still_read() {
        // Proves that the metadata written before there were incarnations means what it meant.
        let mut old = vec![0, 0, 0, 1];
        old.extend_from_slice(&0xc1_u64.to_be_bytes());
        old.extend_from_slice(&0x3e_u64.to_be_bytes());
        let found = Metadata::decode(&old, Path::new("w")).unwrap();
        assert_eq!(found, Metadata { cluster_id: 0xc1, member_id: 0x3e, incarnation: 0 });
    }
}
