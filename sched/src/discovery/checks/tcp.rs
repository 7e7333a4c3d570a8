//! A connection is accepted.

use tokio::net::TcpStream;

pub(super) async fn ask(target: &str) -> Result<(), String> {
    TcpStream::connect(target).await.map(drop).map_err(|error| error.to_string())
}
