//! A page by plain HTTP, and what Prometheus understands of one.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Head and body.
pub(crate) async fn get(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    testkit::bounded(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

/// The metrics that a server tells at `endpoint`.
pub(crate) async fn metrics(endpoint: &str) -> Page {
    let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
    let (head, body) = get(port.expect("a port"), "/metrics").await;
    assert!(head.contains(" 200 "), "{head}");
    Page::parse(&String::from_utf8(body).unwrap())
}

/// What Prometheus understands of a page.
pub(crate) struct Page {
    /// By name.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Name with labels, and value.
    samples: Vec<(String, f64)>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self { kinds: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                page.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                page.samples.push((name.to_owned(), value.parse().expect("a number")));
            }
        }
        page
    }

    /// The samples of that name whose labels hold all of `selectors` (`name="value"`, or `name="`).
    pub(crate) fn values(&self, name: &str, selectors: &[&str]) -> Vec<f64> {
        let selected = |sample: &str| {
            let (own, labels) = sample.split_once('{').unwrap_or((sample, ""));
            own == name && selectors.iter().all(|selector| labels.contains(selector))
        };
        let found = self.samples.iter().filter(|(sample, _)| selected(sample));
        found.map(|(_, value)| *value).collect()
    }

    /// Their sum, as `sum()` has it; `None`: no sample, and so no result.
    pub(crate) fn sum(&self, name: &str, selectors: &[&str]) -> Option<f64> {
        let values = self.values(name, selectors);
        (!values.is_empty()).then(|| values.iter().sum())
    }
}
