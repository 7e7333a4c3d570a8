//! What a server counts of itself.

use std::error::Error;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The sum over all labels of a counter; 0 if there is none of that name.
///
/// # Errors
/// The server does not answer.
pub(crate) async fn count(client_url: &str, name: &str) -> Result<usize, Box<dyn Error>> {
    let text = page(client_url).await?;
    let values = text.lines().filter_map(|line| {
        let labels_and_value = line.strip_prefix(name)?;
        let (labels, value) = labels_and_value.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        is_it.then(|| whole(value)).flatten()
    });
    Ok(values.sum())
}

/// A count, which etcd writes as 1.5e+06 from a million on.
fn whole(value: &str) -> Option<usize> {
    format!("{:.0}", value.parse::<f64>().ok()?).parse().ok()
}

async fn page(client_url: &str) -> Result<String, Box<dyn Error>> {
    let host = client_url.trim_start_matches("http://");
    let stream = TokioIo::new(TcpStream::connect(host).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let request = Request::get("/metrics").header("host", host).body(Empty::<&[u8]>::new())?;
    // Ends when the sender is gone.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let text = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
