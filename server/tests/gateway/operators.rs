//! The pages for operators, asked in every way.

use testkit::{Program, Server, subject};

use super::http::Http;

const PATHS: &[&str] =
    &["/health", "/version", "/metrics", "/members", "/health/x", "/version/", "/metrics/", "/x"];
const VERBS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// Proves that each verb gets etcd's status, kind and refusal on each page, and that what is sent along
/// leaves the connection usable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verb_is_answered_as_by_etcd() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        let mut http = Http::connect(server.client_port).await;
        let mut told = Vec::new();
        for path in PATHS {
            for verb in VERBS {
                for body in ["", "{bad", "a=b"] {
                    let answer = http.send(verb, path, &[], body).await;
                    let header = |name: &str| {
                        let value = answer.headers.get(name)?.to_str().unwrap();
                        // Ours leaves out the parameter that is the default.
                        Some(value.split(';').next().unwrap().to_owned())
                    };
                    let headers = ["content-type", "allow", "x-content-type-options"].map(header);
                    let refusal = (answer.status != 200)
                        .then(|| String::from_utf8_lossy(&answer.body).into_owned());
                    told.push((*verb, *path, body, answer.status, headers, refusal));
                    assert!(http.is_open().await, "{verb} {path} {body} closed the connection");
                }
            }
        }
        seen.push(told);
    }
    for (theirs, ours) in seen[0].iter().zip(&seen[1]) {
        assert_eq!(ours, theirs);
    }
}
