//! The client of gofail's HTTP interface, byte for byte.

use testkit::{Member, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HTTP: &str = "GOFAIL_HTTP";
const FAILPOINTS: &str = "GOFAIL_FAILPOINTS";

/// From its next start on the member serves its points.
pub(crate) fn serve(member: &mut Member) {
    member.env.insert(HTTP.to_owned(), format!("127.0.0.1:{}", free_port()));
}

/// At its next start the member has `points` set.
pub(crate) fn set_at_start(member: &mut Member, points: &str) {
    member.env.insert(FAILPOINTS.to_owned(), points.to_owned());
}

pub(crate) fn unset_at_start(member: &mut Member) {
    member.env.remove(FAILPOINTS);
}

/// Status and body of the answer.
pub(crate) async fn ask(member: &Member, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = &member.env[HTTP];
    let mut stream = TcpStream::connect(address).await.expect("points are served");
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((request + body).as_bytes()).await.expect("a request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer is sent before a crash");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a head begins with a status"), body.to_owned())
}

pub(crate) async fn set(member: &Member, name: &str, terms: &str) {
    let answer = ask(member, "PUT", &format!("/{name}"), terms).await;
    assert_eq!(answer, (204, String::new()), "{name} is set");
}
