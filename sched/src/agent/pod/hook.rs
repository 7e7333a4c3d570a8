//! Hooks of a container, and the questions of its probes: a command in it, a page, a port.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::agent::runtime::{ExecSpec, Runtime};

/// What is kept of a command's output or a page, to say what is wrong.
const WORDS_BYTES_MAX: u64 = 4096;

/// Where a container is, for those who ask it something.
#[derive(Clone)]
pub(in crate::agent) struct Target {
    pub(in crate::agent) runtime: std::sync::Arc<dyn Runtime>,
    pub(in crate::agent) id: String,
    pub(in crate::agent) address: IpAddr,
    pub(in crate::agent) container: Container,
}

impl Target {
    /// Runs a hook to its end.
    pub(in crate::agent) async fn hook(&self, handler: &LifecycleHandler) -> Result<(), String> {
        if let Some(exec) = &handler.exec {
            return self.exec(exec).await;
        }
        if let Some(get) = &handler.http_get {
            return self.get(get).await;
        }
        if let Some(sleep) = &handler.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            return Ok(());
        }
        match &handler.tcp_socket {
            Some(tcp) => self.connect(tcp).await,
            None => Ok(()),
        }
    }

    /// Whether nobody can listen there, as the container is only pretended: then its port answers.
    pub(in crate::agent) fn is_pretended(&self) -> bool {
        !self.runtime.has_network()
    }

    /// A command ends with 0.
    pub(in crate::agent) async fn exec(&self, exec: &ExecAction) -> Result<(), String> {
        let command = exec.command.clone().unwrap_or_default();
        let spec = ExecSpec { command, ..ExecSpec::default() };
        let exec = self.runtime.exec(&self.id, spec).await.map_err(|error| error.to_string())?;
        let (output, code) =
            exec.collect(WORDS_BYTES_MAX).await.map_err(|error| error.to_string())?;
        match code {
            0 => Ok(()),
            code => Err(format!("exit code {code}: {}", String::from_utf8_lossy(&output).trim())),
        }
    }

    /// A port accepts.
    pub(in crate::agent) async fn connect(&self, tcp: &TCPSocketAction) -> Result<(), String> {
        let port = self.port(&tcp.port)?;
        let connected = match &tcp.host {
            Some(host) => TcpStream::connect((host.as_str(), port)).await,
            None if self.is_pretended() => return Ok(()),
            None => TcpStream::connect((self.address, port)).await,
        };
        connected.map(drop).map_err(|error| format!("port {port}: {error}"))
    }

    /// A page answers with 200 to 399.
    pub(in crate::agent) async fn get(&self, get: &HTTPGetAction) -> Result<(), String> {
        let port = self.port(&get.port)?;
        let host = get.host.clone().unwrap_or_else(|| self.address.to_string());
        let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let uri: Uri = path.parse().map_err(|error| format!("path {path:?}: {error}"))?;
        let mut request = Request::get(uri)
            .header(http::header::USER_AGENT, "kube-probe/berth")
            .header(http::header::CONNECTION, "close");
        let named = |name: &str| {
            get.http_headers.iter().flatten().any(|one| one.name.eq_ignore_ascii_case(name))
        };
        if !named("host") {
            request = request.header(http::header::HOST, format!("{host}:{port}"));
        }
        for header in get.http_headers.iter().flatten() {
            request = request.header(&header.name, &header.value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        if get.host.is_none() && self.is_pretended() {
            return Ok(());
        }
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| format!("port {port}: {error}"))?;
        if get.scheme.as_deref() == Some("HTTPS") {
            return page(super::tls::open(stream, &host).await?, request).await;
        }
        page(stream, request).await
    }

    pub(in crate::agent) fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let ports = self.container.ports.iter().flatten();
                let named = ports.into_iter().find(|port| port.name.as_ref() == Some(name));
                named.map(|port| port.container_port).or_else(|| name.parse().ok())
            }
        };
        let number = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
        number.ok_or_else(|| format!("the container has no port {port:?}"))
    }
}

async fn page<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        let words = usize::try_from(WORDS_BYTES_MAX).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), words).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))
    };
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        // It may end as soon as the answer is in; then that is what the question finds.
        _ = connection => asking.await,
    }
}
