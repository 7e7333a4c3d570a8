//! Failpoints of a build that has them, over gofail's HTTP interface.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Cluster, Member};

/// Beside the client port.
const PORT_AFTER: u16 = 7000;
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Where each member serves its failpoints, if its build has any; others ignore it.
pub(super) fn prepare(cluster: &mut Cluster) {
    for at in 0..cluster.len() {
        let address = address(cluster.member(at));
        cluster.member_mut(at).env.insert("GOFAIL_HTTP".to_owned(), address);
    }
}

fn address(member: &Member) -> String {
    let (host, port) = member.place.client.rsplit_once(':').expect("an address has a port");
    let port: u16 = port.parse().expect("a port is a number");
    format!("{host}:{}", port.checked_add(PORT_AFTER).unwrap_or_else(|| port - PORT_AFTER))
}

/// The names of all failpoints; empty if there are none.
pub(super) fn names(member: &Member) -> Vec<String> {
    let Some(answer) = ask(member, "GET", "/", "") else { return Vec::new() };
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

/// The process ends when it comes by; true if it was told.
pub(super) fn crash_at(member: &Member, name: &str) -> bool {
    ask(member, "PUT", &format!("/{name}"), "panic").is_some_and(|it| it.contains(" 204"))
}

fn ask(member: &Member, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address(member).parse().ok()?, ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: berth\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // What came before an end that was not clean will do.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).ok()
}
