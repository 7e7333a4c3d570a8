//! Member and cluster ids as etcd derives them, so that tools that compute or compare them agree.
//!
//! Source: etcd's `server/etcdserver/api/membership/member.go` and `cluster.go`.

use sha1::{Digest, Sha1};

use super::urls::Url;

/// The id of a member of the initial cluster: its sorted peer URLs and the cluster's token.
pub fn member_id(peer_urls: &[Url], token: &str) -> u64 {
    let mut urls: Vec<String> = peer_urls.iter().map(ToString::to_string).collect();
    urls.sort();
    let mut sha = Sha1::new();
    for url in urls {
        sha.update(url);
    }
    sha.update(token);
    first_eight(sha)
}

/// The id of a member that is added at `unix_s` to a cluster that runs: its sorted peer URLs and the
/// time, in place of a token.
pub fn added_member_id(peer_urls: &[String], unix_s: u64) -> u64 {
    let mut sha = Sha1::new();
    for url in peer_urls {
        sha.update(url);
    }
    sha.update(unix_s.to_string());
    first_eight(sha)
}

/// The id of the cluster: the ids of its initial members, ascending.
pub fn cluster_id(member_ids: &[u64]) -> u64 {
    let mut ids = member_ids.to_vec();
    ids.sort_unstable();
    let mut sha = Sha1::new();
    for id in ids {
        sha.update(id.to_be_bytes());
    }
    first_eight(sha)
}

fn first_eight(sha: Sha1) -> u64 {
    let digest = sha.finalize();
    digest[..8].iter().fold(0, |id, byte| id << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::urls;

    fn id(peer_urls: &str, token: &str) -> u64 {
        member_id(&urls::parse_list(peer_urls).unwrap(), token)
    }

    #[test]
    fn a_member_alone_as_etcd_counts_it() {
        // Vectors printed by etcd 3.4.23 started with the same flags: its defaults first.
        let member = id("http://localhost:2380", "etcd-cluster");
        assert_eq!(member, 0x8e9e_05c5_2164_694d);
        assert_eq!(cluster_id(&[member]), 14_841_639_068_965_178_418);

        let member = id("http://127.0.0.1:24567,http://127.0.0.1:23456", "tkn-1");
        assert_eq!(member, 0xc253_a13f_928e_34d7);
        assert_eq!(cluster_id(&[member]), 5_351_237_715_726_725_722);
    }

    #[test]
    fn three_members_as_etcd_counts_them() {
        // Vectors printed by three members of etcd 3.4.23; their order must not matter.
        let members: Vec<u64> =
            [3, 1, 2].map(|n| id(&format!("http://127.0.0.1:2380{n}"), "three")).to_vec();
        assert_eq!(members, [0x4f95_1b53_8a70_e25b, 0x39d5_be52_2ff4_7159, 0xd75e_6020_16f1_c0e8]);
        assert_eq!(cluster_id(&members), 15_932_831_949_584_433_693);
    }
}
