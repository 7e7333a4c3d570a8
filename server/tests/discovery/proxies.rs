//! HAProxy and nginx behind `berth template`, by the worked examples, under load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Server, eventually, free_port, require, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::tool::{SOON_S, Tool, endpoints, page, put};

/// Of those that are not killed: their sidecars may be kept waiting.
const LONG_TTL_S: u64 = 20;
/// Of the one that is.
const TTL_S: u64 = 3;
/// Requests in a row that tell who is asked no more.
const ENOUGH: usize = 40;
/// Clients that ask all the time, each over a connection of its own for every request.
const CLIENTS: usize = 4;

/// The end of the reload of the examples, and what the tests put in its place.
const RELOAD_END: &str = "DIR/pid)\"";
const LOADED: &str = "DIR/pid) && cp DIR/proxy.conf DIR/copy && mv DIR/copy DIR/loaded\"";

/// An HTTP server that says its name, and its sidecar.
struct Backend {
    port: u16,
    well: Arc<AtomicBool>,
    server: JoinHandle<()>,
    sidecar: Tool,
}

impl Backend {
    async fn start(name: &str, endpoints: &str, ttl_s: u64) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port was free");
        let well = Arc::new(AtomicBool::new(true));
        let server = tokio::spawn(serve(listener, name.to_owned(), well.clone()));
        let sidecar = Tool::berth(&[
            "register",
            endpoints,
            "--service=web",
            &format!("--instance={name}"),
            "--address=127.0.0.1",
            &format!("--port={port}"),
            &format!("--ttl={ttl_s}s"),
            &format!("--check=http://127.0.0.1:{port}/health"),
            "--interval=100ms",
            "--timeout=30s",
            // More than HAProxy takes, and for all the same.
            "--weight=300",
        ]);
        Self { port, well, server, sidecar }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, name: String, well: Arc<AtomicBool>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let (name, well) = (name.clone(), well.clone());
        tokio::spawn(async move {
            let mut request = vec![0; 2048];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let is_check = request[..length].starts_with(b"GET /health");
            let status = match is_check && !well.load(Ordering::Relaxed) {
                true => "503 Service Unavailable",
                false => "200 OK",
            };
            let length = name.len();
            let page = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
            );
            let _ = stream.write_all(page.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

/// Requests through the proxy until dropped.
struct Load {
    asked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let (asked, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let task = |_| {
            let (asked, failed) = (asked.clone(), failed.clone());
            tokio::spawn(async move {
                loop {
                    let answer = page(port, "/").await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    if !answer.starts_with("HTTP/1.1 200") {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("failed: {answer:?}");
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        };
        let tasks = (0..CLIENTS).map(task).collect();
        Self { asked, failed, tasks }
    }

    /// Stops, and tells how many were asked and how many of them failed.
    fn stop(self) -> (u64, u64) {
        self.tasks.iter().for_each(JoinHandle::abort);
        (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// An example, moved into a directory of the test.
struct Example {
    directory: TempDir,
    /// A copy of the file, as it was when the proxy was last told to load it.
    loaded: PathBuf,
    templater: Tool,
}

impl Example {
    /// Copies `examples/NAME`, with `changes` of its resource, the last of its reload, and runs it.
    fn start(name: &str, endpoints: &str, changes: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        for folder in ["conf.d", "templates"] {
            copy(&source.join(folder), &directory.path().join(folder), |text| {
                let place = directory.path().display().to_string();
                let changed = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
                changed.replace("DIR", &place)
            })
            .expect("the example can be copied");
        }
        let loaded = directory.path().join("loaded");
        let config = format!("--config={}", directory.path().display());
        let templater = Tool::berth(&["template", endpoints, &config]);
        Self { directory, loaded, templater }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Waits until the proxy was told to load a file that names these ports and not those.
    async fn until(&self, with: &[&Backend], without: &[&Backend]) {
        let address = |backend: &&Backend| format!("127.0.0.1:{}", backend.port);
        eventually("the file", SOON_S, async || {
            let text = std::fs::read_to_string(&self.loaded).unwrap_or_default();
            let has = |backend: &&Backend| text.contains(&address(backend));
            match with.iter().all(has) && !without.iter().any(has) {
                true => Ok(()),
                false => Err(format!("{text}\n{}", self.templater.log())),
            }
        })
        .await;
    }
}

/// Copies the files of a folder into a new one, changed.
fn copy(from: &Path, to: &Path, change: impl Fn(String) -> String) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        std::fs::write(to.join(entry.file_name()), change(text))?;
    }
    Ok(())
}

/// Instances that are registered well, and that a proxy would refuse as they are: of another family,
/// without a share, without a port, with names of their own.
const ODD: [(&str, &str); 3] = [
    ("/services/web/a@b c", r#"{"address":"2001:db8::2","port":80,"weight":0}"#),
    ("/services/web/a_b_c", r#"{"address":"10.255.0.1","port":80,"weight":0}"#),
    ("/services/web/none", r#"{"address":"10.255.0.2","port":0}"#),
];

/// Instances come, fail, recover, leave and are killed while a load runs.
async fn follow(server: &Server, example: &Example, start: impl FnOnce() -> Tool, port: u16) {
    let endpoints = &endpoints(server);
    for (key, document) in ODD {
        put(&server.clients(), key, document).await;
    }
    let start_backend = |name| Backend::start(name, endpoints, LONG_TTL_S);
    let [one, two, three] = ["one", "two", "three"].map(start_backend);
    let (mut one, two, three) = (one.await, two.await, three.await);
    example.until(&[&one, &two, &three], &[]).await;
    let _proxy = start();
    let serving = async || match page(port, "/").await {
        answer if answer.starts_with("HTTP/1.1 200") => Ok(()),
        answer => Err(answer),
    };
    eventually("the proxy", SOON_S, serving).await;
    let load = Load::start(port);

    // One leaves: it is deregistered, its clients hear of it, then it ends.
    one.sidecar.terminate().await;
    example.until(&[&two, &three], &[&one]).await;
    until_unasked(port, "one").await;
    one.server.abort();
    // One comes.
    let four = start_backend("four").await;
    example.until(&[&two, &three, &four], &[&one]).await;
    let asked = async || match page(port, "/").await {
        answer if answer.ends_with("four") => Ok(()),
        answer => Err(answer),
    };
    eventually("the newcomer is asked", SOON_S, asked).await;
    // One is unwell for a while.
    two.well.store(false, Ordering::Relaxed);
    example.until(&[&three, &four], &[&two]).await;
    two.well.store(true, Ordering::Relaxed);
    example.until(&[&two, &three, &four], &[&one]).await;
    let (asked, failed) = load.stop();
    println!("{asked} requests, {failed} failed");
    assert_eq!(failed, 0, "of {asked}");
    assert!(asked > 100, "{asked}");

    // One is killed, with its sidecar.
    let mut five = Backend::start("five", endpoints, TTL_S).await;
    example.until(&[&two, &three, &four, &five], &[&one]).await;
    let killed = Instant::now();
    five.sidecar.kill();
    five.server.abort();
    example.until(&[&two, &three, &four], &[&five]).await;
    println!("SIGKILL to removal: {:?} with a TTL of {TTL_S} s", killed.elapsed());
}

/// Waits until the proxy asks a backend no more: the file is in place before it is loaded.
async fn until_unasked(port: u16, name: &str) {
    eventually(name, SOON_S, async || {
        for _ in 0..ENOUGH {
            if page(port, "/").await.ends_with(name) {
                return Err("it is still asked".to_owned());
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_follows_and_fails_no_request() {
    // Proves the example: with Debian's HAProxy no request fails while instances leave and come,
    // and one that was killed is gone with its lease.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    let port = free_port();
    let bind = format!("127.0.0.1:{port}");
    let example = Example::start(
        "haproxy",
        &endpoints,
        &[
            ("/etc/haproxy/haproxy.cfg", "DIR/proxy.conf"),
            ("/run/haproxy.pid", "DIR/pid"),
            ("/run/haproxy/admin.sock", "DIR/socket"),
            ("*:80", &bind),
            (RELOAD_END, LOADED),
        ],
    );
    let haproxy = require("haproxy", "haproxy");
    let (conf, pid) = (example.path("proxy.conf"), example.path("pid"));
    let start = || Tool::start(&haproxy, &["-W", "-db", "-q", "-f", &conf, "-p", &pid]);
    follow(&server, &example, start, port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_follows_and_fails_no_request() {
    // Proves the same of nginx.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let example = Example::start(
        "nginx",
        &endpoints,
        &[
            ("/etc/nginx/nginx.conf", "DIR/proxy.conf"),
            ("/run/nginx.pid", "DIR/pid"),
            ("\"80\"", &format!("\"{listen}\"")),
            (RELOAD_END, LOADED),
            ("access_log off;", "access_log off; client_body_temp_path DIR; proxy_temp_path DIR;"),
        ],
    );
    let nginx = require("nginx", "nginx-light");
    let conf = example.path("proxy.conf");
    let start = || Tool::start(&nginx, &["-c", &conf, "-g", "daemon off;"]);
    follow(&server, &example, start, port).await;
}
