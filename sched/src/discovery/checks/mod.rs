//! Health checks: is the thing that was registered doing its work?
//!
//! A check is a pure question with a deadline; what its answers mean is decided by thresholds
//! ([`threshold`]), so that one lost packet does not take an instance away. This room must never
//! touch the store: [`run`] says what it found, somebody else writes it down.

mod exec;
mod grpc;
mod http;
mod tcp;
mod threshold;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsConnector;

use self::threshold::Threshold;
use super::layout::{Health, Status};

/// What a check's output may hold in the health key.
const OUTPUT_BYTES_MAX: usize = 512;
/// Between two outputs while the status stays: words that are others each time (a time, a number)
/// are not worth a write, and a look of everybody who follows, at every interval.
const OUTPUT_INTERVAL: Duration = Duration::from_secs(30);

/// One question, as the command line spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Any answer with a status of 200 to 399, over TLS if the scheme says so.
    Http(::http::Uri),
    /// A connection is accepted.
    Tcp(String),
    /// `sh -c` ends with status 0.
    Exec(String),
    /// The standard health service says SERVING, of the whole server or of one service.
    Grpc { endpoint: String, service: String },
}

/// How often, how long, and how many answers in a row decide.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub interval: Duration,
    pub timeout: Duration,
    /// Good answers after which a critical instance passes.
    pub rise: u32,
    /// Bad answers after which a passing instance is critical.
    pub fall: u32,
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "{text:?} is not a check: write http[s]://HOST:PORT/PATH, tcp://HOST:PORT, \
                 grpc://HOST:PORT[/SERVICE] or exec:COMMAND"
            )
        };
        if let Some(command) = text.strip_prefix("exec:").filter(|command| !command.is_empty()) {
            return Ok(Self::Exec(command.to_owned()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(usage)?;
        let (target, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority: ::http::uri::Authority = target.parse().map_err(|_| usage())?;
        match scheme {
            "http" | "https" => text.parse().map(Self::Http).map_err(|_| usage()),
            "tcp" | "grpc" if authority.port_u16().is_none() => Err(usage()),
            "tcp" => Ok(Self::Tcp(target.to_owned())),
            "grpc" => Ok(Self::Grpc { endpoint: target.to_owned(), service: path.to_owned() }),
            _ => Err(usage()),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(uri) => write!(formatter, "{uri}"),
            Self::Tcp(target) => write!(formatter, "tcp://{target}"),
            Self::Exec(command) => write!(formatter, "exec:{command}"),
            Self::Grpc { endpoint, service } => write!(formatter, "grpc://{endpoint}/{service}"),
        }
    }
}

impl Check {
    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Http(uri) if uri.scheme() == Some(&::http::uri::Scheme::HTTPS))
    }

    /// Asks once. Dropping the future ends what was begun.
    ///
    /// # Errors
    /// What was wrong, for people; also after `timeout`.
    pub async fn ask(&self, timeout: Duration) -> Result<(), String> {
        self.ask_trusting(None, timeout).await
    }

    /// The same; over TLS it asks by `tls`, and not at all without that.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub async fn ask_trusting(
        &self,
        tls: Option<&TlsConnector>,
        timeout: Duration,
    ) -> Result<(), String> {
        let answer = async {
            match self {
                Self::Http(uri) => http::ask(uri, tls).await,
                Self::Tcp(target) => tcp::ask(target).await,
                Self::Exec(command) => exec::ask(command).await,
                Self::Grpc { endpoint, service } => grpc::ask(endpoint, service).await,
            }
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} ms", timeout.as_millis())),
        }
    }
}

/// Asks all `checks` again and again and keeps `health` up to date: passing while all pass. Before
/// the first answers it is critical. Never returns.
///
/// `tls`: whom checks over TLS trust.
pub async fn run(
    checks: &[Check],
    plan: Plan,
    tls: Option<&TlsConnector>,
    health: watch::Sender<Health>,
) {
    let states: Vec<watch::Sender<Option<Health>>> =
        checks.iter().map(|_| watch::Sender::new(None)).collect();
    let asking = checks.iter().zip(&states).map(|(check, state)| repeat(check, plan, tls, state));
    let combining = async {
        let mut seen: Vec<_> = states.iter().map(watch::Sender::subscribe).collect();
        let mut said = None;
        loop {
            let changed = seen.iter_mut().map(|state| Box::pin(state.changed()));
            // The senders are in this very function.
            let _ = futures::future::select_all(changed).await;
            let found: Vec<Option<Health>> =
                seen.iter_mut().map(|state| state.borrow_and_update().clone()).collect();
            combine(&found, &health, &mut said);
        }
    };
    if checks.is_empty() {
        return std::future::pending().await;
    }
    futures::future::join(futures::future::join_all(asking), combining).await;
}

/// The first that is not passing speaks for all. `said`: when `health` was changed last.
fn combine(found: &[Option<Health>], health: &watch::Sender<Health>, said: &mut Option<Instant>) {
    let worst = found
        .iter()
        .find(|state| state.as_ref().is_none_or(|health| health.status == Status::Critical));
    let now = match worst {
        None => Health { status: Status::Passing, output: String::new() },
        Some(Some(critical)) => critical.clone(),
        Some(None) => return,
    };
    health.send_if_modified(|before| {
        let is_due = said.is_none_or(|said| said.elapsed() >= OUTPUT_INTERVAL);
        let modified = before.status != now.status || (before.output != now.output && is_due);
        if modified {
            *before = now;
            *said = Some(Instant::now());
        }
        modified
    });
}

async fn repeat(
    check: &Check,
    plan: Plan,
    tls: Option<&TlsConnector>,
    state: &watch::Sender<Option<Health>>,
) {
    let mut threshold = Threshold::new(plan.rise, plan.fall);
    let mut ticks = tokio::time::interval(plan.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = check.ask_trusting(tls, plan.timeout).await;
        if let Err(reason) = &answer {
            tracing::debug!(%check, "failed: {reason}");
        }
        let before = threshold.status();
        let status = threshold.take(answer.is_ok());
        if status != before {
            let reason = answer.as_ref().err().map(String::as_str).unwrap_or_default();
            tracing::info!(%check, reason, "now {}", status.name());
        }
        let output = match answer {
            Err(reason) if status == Status::Critical => told(check, &reason),
            _ => String::new(),
        };
        state.send_replace(Some(Health { status, output }));
    }
}

fn told(check: &Check, reason: &str) -> String {
    let mut text = format!("{check}: {}", reason.trim());
    let ends = (0..=text.len().min(OUTPUT_BYTES_MAX)).rev();
    text.truncate(ends.into_iter().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_they_are_written() {
        // Proves the five spellings, and that others are refused with the way to write them.
        for text in [
            "http://127.0.0.1:80/health?x=1",
            "https://h/",
            "tcp://h:1",
            "grpc://h:1/pkg.Svc",
            "exec:true",
        ] {
            assert_eq!(text.parse::<Check>().unwrap().to_string(), text);
        }
        for wrong in ["", "exec:", "tcp://h", "udp://h:1", "http://", "h:1"] {
            let error = wrong.parse::<Check>().unwrap_err();
            assert!(error.contains("exec:"), "{wrong}: {error}");
        }
    }

    #[tokio::test]
    async fn commands_are_judged_and_ended_in_time() {
        // Proves that a command's status and words count, and that one that hangs is ended.
        let ask =
            async |text: &str| text.parse::<Check>().unwrap().ask(Duration::from_millis(500)).await;
        assert_eq!(ask("exec:true").await, Ok(()));
        let failed = ask("exec:echo too few; exit 3").await.unwrap_err();
        assert!(failed.contains('3') && failed.contains("too few"), "{failed}");
        assert!(ask("exec:sleep 60").await.unwrap_err().contains("500 ms"));
    }

    #[tokio::test(start_paused = true)]
    async fn words_alone_are_told_seldom() {
        // Proves that the first words and each change of the status are told at once, and that
        // words which change while the status stays are told again after a time.
        let critical =
            |output: &str| [Some(Health { status: Status::Critical, output: output.to_owned() })];
        let passing = [Some(Health { status: Status::Passing, output: String::new() })];
        let (health, _) = watch::channel(critical("not checked yet")[0].clone().unwrap());
        let mut said = None;
        let mut outputs = Vec::new();
        for found in [critical("1"), critical("2"), passing, critical("3"), critical("4")] {
            combine(&found, &health, &mut said);
            outputs.push(health.borrow().output.clone());
        }
        assert_eq!(outputs, ["1", "1", "", "3", "3"]);
        tokio::time::advance(OUTPUT_INTERVAL).await;
        combine(&critical("5"), &health, &mut said);
        assert_eq!(health.borrow().output, "5");
    }

    #[tokio::test]
    async fn connections_and_pages_are_judged() {
        // Proves that a port passes where somebody listens, and that a page's status counts.
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = tokio::spawn(async move {
            for status in ["200 OK", "503 Busy"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let page = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nhello");
                stream.write_all(page.as_bytes()).await.unwrap();
            }
        });
        let page: Check = format!("http://{address}/health").parse().unwrap();
        let second = Duration::from_secs(10);
        assert_eq!(page.ask(second).await, Ok(()));
        let busy = page.ask(second).await.unwrap_err();
        assert!(busy.contains("503") && busy.contains("hello"), "{busy}");
        pages.await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Taken, so that nobody else listens there, and nobody does.
        let deaf = tokio::net::TcpSocket::new_v4().unwrap();
        deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for (address, passes) in
            [(listener.local_addr().unwrap(), true), (deaf.local_addr().unwrap(), false)]
        {
            let port: Check = format!("tcp://{address}").parse().unwrap();
            assert_eq!(port.ask(second).await.is_ok(), passes);
        }
    }
}
