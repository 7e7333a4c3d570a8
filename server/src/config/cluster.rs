//! The initial cluster: who is in it, and which of them this is.

use std::net::{SocketAddr, ToSocketAddrs};

use super::ids;
use super::urls::{self, Url};

/// One `name=url[,name=url]` entry of `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub id: u64,
    pub peer_urls: Vec<Url>,
}

/// A new cluster, and which of its members this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    pub cluster_id: u64,
    pub member_id: u64,
    pub members: Vec<Member>,
}

impl InitialCluster {
    /// From the flags `--name`, `--initial-cluster`, `--initial-cluster-token` and
    /// `--initial-advertise-peer-urls`.
    ///
    /// # Errors
    /// etcd's line for what is wrong with them.
    pub fn parse(
        name: &str,
        initial_cluster: &str,
        token: &str,
        advertised: &str,
    ) -> Result<Self, String> {
        Self::of(name, initial_cluster, token, &urls::parse_list(advertised)?)
    }

    /// The same, with addresses that are parsed already.
    pub(super) fn of(
        name: &str,
        initial_cluster: &str,
        token: &str,
        advertised: &[Url],
    ) -> Result<Self, String> {
        let members = parse(initial_cluster, token)?;
        let member_id = local(&members, name, advertised)?.id;
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        Ok(Self { cluster_id: ids::cluster_id(&ids), member_id, members })
    }
}

/// The members named by `--initial-cluster`, in the order of their names.
///
/// # Errors
/// etcd's line for an entry that is no `name=url`, and for a URL used twice.
fn parse(text: &str, token: &str) -> Result<Vec<Member>, String> {
    let mut members: Vec<Member> = Vec::new();
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let (name, url) = entry
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && !url.is_empty())
            .ok_or_else(|| format!("incorrect entry {entry:?} in --initial-cluster"))?;
        let url = urls::parse_list(url)?;
        if members.iter().any(|member| member.peer_urls.contains(&url[0])) {
            return Err(format!("initial cluster {text} has duplicated url {}", url[0]));
        }
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.extend(url),
            None => members.push(Member { name: name.to_owned(), id: 0, peer_urls: url }),
        }
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    for member in &mut members {
        member.peer_urls.sort();
        member.id = ids::member_id(&member.peer_urls, token);
    }
    Ok(members)
}

/// Finds this member and checks that it advertises what the cluster expects.
///
/// # Errors
/// etcd's lines for a name that is missing and for URLs that differ.
fn local<'a>(members: &'a [Member], name: &str, advertised: &[Url]) -> Result<&'a Member, String> {
    let member = members.iter().find(|member| member.name == name).ok_or_else(|| {
        format!("couldn't find local name {name:?} in the initial cluster configuration")
    })?;
    let mut advertised = advertised.to_vec();
    advertised.sort();
    if same(&member.peer_urls, &advertised) {
        return Ok(member);
    }
    let entry = |url: &Url| format!("{name}={url}");
    match advertised.iter().find(|url| !member.peer_urls.contains(url)) {
        Some(extra) => Err(format!(
            "--initial-advertise-peer-urls has {extra} but missing from --initial-cluster={}",
            member.peer_urls.iter().map(entry).collect::<Vec<_>>().join(",")
        )),
        None => Err(format!(
            "--initial-cluster={} has URLs missing from --initial-advertise-peer-urls={}",
            member.peer_urls.iter().map(entry).collect::<Vec<_>>().join(","),
            urls::join(&advertised)
        )),
    }
}

/// Equal as written, or after resolving host names: `localhost` is `127.0.0.1`.
fn same(left: &[Url], right: &[Url]) -> bool {
    left == right || (left.len() == right.len() && resolve(left) == resolve(right))
}

/// The first IPv4 address of each, else the first at all, as Go's resolver prefers.
fn resolve(urls: &[Url]) -> Vec<String> {
    let address = |url: &Url| {
        let found: Vec<SocketAddr> = url.address.to_socket_addrs().ok()?.collect();
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
    };
    let mut resolved: Vec<String> = urls
        .iter()
        .map(|url| address(url).map_or_else(|| url.address.clone(), |found| found.to_string()))
        .collect();
    resolved.sort();
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_or_says_why_not() {
        // Shows the three refusals: unknown name, URL that differs, URL used twice.
        let members = parse("a=http://127.0.0.1:1,a=http://127.0.0.1:2", "t").unwrap();
        let advertised = |text| urls::parse_list(text).unwrap();
        let both = advertised("http://127.0.0.1:2,http://127.0.0.1:1");
        assert_eq!(local(&members, "a", &both).unwrap().peer_urls.len(), 2);
        assert_eq!(
            local(&members, "b", &both).unwrap_err(),
            "couldn't find local name \"b\" in the initial cluster configuration"
        );
        assert!(local(&members, "a", &both[..1]).is_err());
        assert!(local(&members, "a", &advertised("http://127.0.0.1:3")).is_err());
        assert!(parse("a=http://127.0.0.1:1,b=http://127.0.0.1:1", "t").is_err());
        assert!(parse("http://127.0.0.1:1", "t").is_err());
    }

    #[test]
    fn host_names_are_resolved_before_they_differ() {
        // Shows that localhost in one flag and its address in the other agree, as in etcd.
        let members = parse("a=http://localhost:1", "t").unwrap();
        let advertised = urls::parse_list("http://127.0.0.1:1").unwrap();
        assert!(local(&members, "a", &advertised).is_ok());
    }
}
