//! Connections: from the global flags to ready service clients that carry the token.

use std::future::Future;
use std::time::Duration;

use api::etcdserverpb::auth_client::AuthClient;
use api::etcdserverpb::cluster_client::ClusterClient;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::{AuthenticateRequest, MemberListRequest};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::ServiceExt;

use super::args::Global;
use super::failure::{EXIT_BAD_CONNECTION, Failure};
use super::output::Printer;
use super::tls::TlsFlags;

/// Pings more often than every 5 s are punished by etcd, on connections that idle or only watch.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// A channel that sends the session's token with every call.
pub(crate) type Connection = InterceptedService<Channel, Token>;

/// One run of the command line: where to connect, as whom, and how to print.
pub(crate) struct Session {
    endpoints: Vec<String>,
    tls: TlsFlags,
    credentials: Option<(String, String)>,
    command_timeout: Duration,
    dial_timeout: Duration,
    keepalive_time: Duration,
    keepalive_timeout: Duration,
    pub(super) out: Printer,
}

/// Adds the token, if there is one, to each request's metadata.
#[derive(Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

impl Session {
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        let tls = TlsFlags::new(&global);
        let credentials = global.user.map(|user| credentials(user, global.password)).transpose()?;
        Ok(Self {
            tls,
            endpoints: global.endpoints,
            credentials,
            command_timeout: global.command_timeout,
            dial_timeout: global.dial_timeout,
            keepalive_time: global.keepalive_time,
            keepalive_timeout: global.keepalive_timeout,
            out: Printer::new(global.write_out, global.hex),
        })
    }

    pub(crate) async fn kv(&self) -> Result<KvClient<Connection>, Failure> {
        Ok(KvClient::new(self.connect().await?).max_decoding_message_size(usize::MAX))
    }

    pub(crate) async fn watch(&self) -> Result<WatchClient<Connection>, Failure> {
        Ok(WatchClient::new(self.connect().await?).max_decoding_message_size(usize::MAX))
    }

    pub(super) async fn lease(&self) -> Result<LeaseClient<Connection>, Failure> {
        Ok(LeaseClient::new(self.connect().await?).max_decoding_message_size(usize::MAX))
    }

    pub(super) async fn cluster(&self) -> Result<ClusterClient<Connection>, Failure> {
        Ok(ClusterClient::new(self.connect().await?))
    }

    pub(super) async fn auth(&self) -> Result<AuthClient<Connection>, Failure> {
        Ok(AuthClient::new(self.connect().await?))
    }

    pub(super) async fn maintenance(&self) -> Result<MaintenanceClient<Connection>, Failure> {
        Ok(MaintenanceClient::new(self.connect().await?))
    }

    /// The maintenance service of one endpoint: what it says is about that member alone.
    pub(super) async fn maintenance_of(
        &self,
        endpoint: &str,
    ) -> Result<MaintenanceClient<Connection>, Failure> {
        Ok(MaintenanceClient::new(self.connect_to(endpoint).await?))
    }

    /// The key-value service of one endpoint.
    pub(super) async fn kv_of(&self, endpoint: &str) -> Result<KvClient<Connection>, Failure> {
        Ok(KvClient::new(self.connect_to(endpoint).await?))
    }

    /// The endpoints to ask one by one: those given, or with `cluster` those of all members.
    pub(super) async fn each_endpoint(&self, cluster: bool) -> Result<Vec<String>, Failure> {
        if !cluster {
            return Ok(self.endpoints.clone());
        }
        let mut client = self.cluster().await?;
        let request = MemberListRequest { linearizable: true };
        let members = self.call(client.member_list(request)).await?.members;
        Ok(members.into_iter().flat_map(|member| member.client_urls).collect())
    }

    /// A page that one endpoint serves by plain HTTP.
    pub(super) async fn page(&self, endpoint: &str, path: &str) -> Result<String, Failure> {
        match timeout(self.command_timeout, self.fetch(endpoint, path)).await {
            Ok(page) => page,
            Err(_) => Err(Failure::error("context deadline exceeded")),
        }
    }

    async fn fetch(&self, endpoint: &str, path: &str) -> Result<String, Failure> {
        let unread = |error: &dyn std::fmt::Display| {
            Failure::error(format!("cannot read {path} of {endpoint}: {error}"))
        };
        let (target, is_secure) = self.target(endpoint)?;
        let authority = target.uri().authority().map_or("", |it| it.as_str()).to_owned();
        let page = format!("{}://{authority}{path}", if is_secure { "https" } else { "http" });
        let body = if is_secure {
            // Over TLS the server tells gRPC from the rest by what is asked.
            let request = http::Request::get(page).body(tonic::body::Body::empty());
            let request = request.map_err(|error| unread(&error))?;
            let answer = self.dial(endpoint).await?.oneshot(request).await;
            answer
                .map_err(|error| unread(&error))?
                .into_body()
                .collect()
                .await
                .map_err(|error| unread(&error))?
                .to_bytes()
        } else {
            // Without it, HTTP/2 is gRPC for etcd.
            let stream = TcpStream::connect(&authority).await.map_err(|error| unread(&error))?;
            let shake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = shake.map_err(|error| unread(&error))?;
            let request = http::Request::get(path).header(http::header::HOST, &authority);
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| unread(&error))?;
            let talk = async { sender.send_request(request).await?.into_body().collect().await };
            tokio::select! {
                body = talk => body.map_err(|error| unread(&error))?.to_bytes(),
                Err(error) = connection => return Err(unread(&error)),
            }
        };
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits for `answer` for at most `--command-timeout`.
    pub(super) async fn call<T>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout(self.command_timeout, answer).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Failure::error("context deadline exceeded")),
        }
    }

    /// Connects to the first endpoint that answers.
    async fn connect(&self) -> Result<Connection, Failure> {
        let mut last = Failure::bad_args("no endpoint is given: set --endpoints");
        for endpoint in &self.endpoints {
            match self.connect_to(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, endpoint: &str) -> Result<Connection, Failure> {
        let channel = self.dial(endpoint).await?;
        let token = self.authenticate(channel.clone()).await?;
        Ok(InterceptedService::new(channel, token))
    }

    /// All endpoints, each with channels that connect when they are first used, and again whenever
    /// they broke.
    pub(crate) fn lazy_endpoints(&self) -> Result<Vec<sched::kv::grpc::Endpoint>, Failure> {
        let lazy = |name: &String| {
            let (target, is_secure) = self.target(name)?;
            let target = target.http2_keep_alive_interval(self.keepalive_time.max(KEEPALIVE_MIN));
            let connector = is_secure.then(|| self.tls.connector()).transpose()?;
            let connect = move || match connector.clone() {
                Some(connector) => target.connect_with_connector_lazy(connector),
                None => target.connect_lazy(),
            };
            Ok(sched::kv::grpc::Endpoint::new(name.clone(), connect))
        };
        self.endpoints.iter().map(lazy).collect()
    }

    /// Name and password, if they were given.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        self.credentials.clone()
    }

    async fn dial(&self, endpoint: &str) -> Result<Channel, Failure> {
        let (target, is_secure) = self.target(endpoint)?;
        let connected = match is_secure {
            true => target.connect_with_connector(self.tls.connector()?).await,
            false => target.connect().await,
        };
        connected
            .map_err(|error| Failure::error(format!("cannot reach {endpoint}: {}", root(&error))))
    }

    /// Where to connect, and whether with TLS.
    fn target(&self, endpoint: &str) -> Result<(Endpoint, bool), Failure> {
        let uri = match endpoint.split_once("://") {
            Some(_) => endpoint.to_owned(),
            None if self.tls.is_default() => format!("https://{endpoint}"),
            None => format!("http://{endpoint}"),
        };
        let is_secure = uri.starts_with("https://");
        let target = Endpoint::from_shared(uri)
            .map_err(|error| Failure::bad_args(format!("bad endpoint {endpoint:?}: {error}")))?
            .connect_timeout(self.dial_timeout)
            .http2_keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout);
        Ok((target, is_secure))
    }

    async fn authenticate(&self, channel: Channel) -> Result<Token, Failure> {
        let Some((name, password)) = self.credentials.clone() else { return Ok(Token(None)) };
        let mut client = AuthClient::new(channel);
        let request = AuthenticateRequest { name, password };
        let answer = match self.call(client.authenticate(request)).await {
            // With auth off, etcdctl goes on without a token.
            Err(failure) if failure.message.ends_with("authentication is not enabled") => {
                return Ok(Token(None));
            }
            answer => {
                answer.map_err(|failure| Failure::new(EXIT_BAD_CONNECTION, failure.message))?
            }
        };
        let token = answer
            .token
            .parse()
            .map_err(|_| Failure::error("the server sent a token that no header can carry"))?;
        Ok(Token(Some(token)))
    }
}

fn credentials(user: String, password: Option<String>) -> Result<(String, String), Failure> {
    if let Some(password) = password {
        return Ok((user, password));
    }
    match user.split_once(':') {
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
        None => Ok((user, read_password("Password: ")?)),
    }
}

/// Asks for a password on the terminal, without echo.
pub(super) fn read_password(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt).map_err(|error| {
        Failure::bad_args(format!("cannot ask for the password ({error}): use --password"))
    })
}

/// The innermost cause: what a person can act on.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
