//! Names that are not ours: asked of other resolvers, one after the other.
//!
//! The question goes on as it came (but for its id), the answer comes back as it is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::resolv_conf::ResolvConf;

/// How long one resolver may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Questions under way; more are told to try again.
const UNDER_WAY_MAX: usize = 1024;
/// What a datagram may hold.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Who is asked for names that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolvers {
    /// These; nobody: such names are refused.
    Named(Vec<SocketAddr>),
    /// Those that this machine asks itself, as its `/etc/resolv.conf` has them at that moment: a
    /// machine may have started without a network, and may change it.
    OfMachine {
        /// Where we answer, which must not be asked.
        except: IpAddr,
    },
}

impl Resolvers {
    fn now(&self) -> Vec<SocketAddr> {
        match self {
            Self::Named(resolvers) => resolvers.clone(),
            Self::OfMachine { except } => {
                let mut conf = ResolvConf::of_machine().unwrap_or_default();
                conf.nameservers.retain(|address| address != except);
                conf.resolvers()
            }
        }
    }
}

pub(in crate::discovery) struct Forwarder {
    resolvers: Resolvers,
    places: Semaphore,
}

impl Forwarder {
    pub(in crate::discovery) fn new(resolvers: Resolvers) -> Self {
        Self { resolvers, places: Semaphore::new(UNDER_WAY_MAX) }
    }

    /// Whether there may be anybody to ask.
    pub(super) fn is_configured(&self) -> bool {
        self.resolvers != Resolvers::Named(Vec::new())
    }

    /// Passes an encoded question on. `whole`: the answer must not be cut short.
    ///
    /// # Errors
    /// Nobody answers, or too many questions are under way; for the log.
    pub(super) async fn ask(&self, question: &[u8], whole: bool) -> Result<Message, String> {
        let _place = self.places.try_acquire().map_err(|_| "too many are under way".to_owned())?;
        let mut question = Question::new(question)?;
        let mut last = "no resolver is configured".to_owned();
        for resolver in self.resolvers.now() {
            let attempt = question.attempt(resolver, whole);
            last = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => format!("{resolver}: {error}"),
                Err(_) => format!("{resolver}: no answer in {} s", ATTEMPT_MAX.as_secs()),
            };
        }
        Err(last)
    }

    /// Asks a question of our own.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(in crate::discovery) async fn look_up(
        &self,
        name: Name,
        qtype: RecordType,
    ) -> Result<Message, String> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, qtype));
        let bytes = message.to_vec().map_err(|error| error.to_string())?;
        self.ask(&bytes, true).await
    }
}

struct Question {
    bytes: Vec<u8>,
    queries: Vec<Query>,
}

impl Question {
    fn new(bytes: &[u8]) -> Result<Self, String> {
        let message = Message::from_vec(bytes).map_err(|error| error.to_string())?;
        Ok(Self { bytes: bytes.to_vec(), queries: message.queries })
    }

    async fn attempt(&mut self, resolver: SocketAddr, whole: bool) -> io::Result<Message> {
        let id: u16 = rand::random();
        self.bytes[..2].copy_from_slice(&id.to_be_bytes());
        let answer = self.by_udp(resolver, id).await?;
        if answer.metadata.truncation && whole {
            return self.by_tcp(resolver, id).await;
        }
        Ok(answer)
    }

    async fn by_udp(&self, resolver: SocketAddr, id: u16) -> io::Result<Message> {
        let any: SocketAddr = match resolver {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A port of its own for each question, which strangers would have to guess.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(resolver).await?;
        socket.send(&self.bytes).await?;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(answer) = self.answered_by(&buffer[..length], id) {
                return Ok(answer);
            }
        }
    }

    async fn by_tcp(&self, resolver: SocketAddr, id: u16) -> io::Result<Message> {
        let mut stream = TcpStream::connect(resolver).await?;
        let length = u16::try_from(self.bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &self.bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        self.answered_by(&buffer, id).ok_or_else(|| io::Error::other("it answers something else"))
    }

    /// The answer, if that is what these bytes are.
    fn answered_by(&self, bytes: &[u8], id: u16) -> Option<Message> {
        let answer = Message::from_vec(bytes).ok()?;
        let fits = answer.metadata.id == id
            && answer.metadata.message_type == MessageType::Response
            && answer.queries == self.queries;
        fits.then_some(answer)
    }
}
