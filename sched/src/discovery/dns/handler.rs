//! From a request to a response.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::op::{Edns, Message, MessageType, Metadata as Header, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::RwLock;

use super::forward::Forwarder;
use super::metrics::Metrics;
use super::outcome::Outcome;
use super::resolve::resolve;
use super::view::View;
use super::zone::Zone;

/// What fits into one packet nearly everywhere (DNS flag day 2020).
pub(super) const DATAGRAM_BYTES_MAX: u16 = 1232;
/// Every client takes as much.
const DATAGRAM_BYTES_MIN: u16 = 512;
/// Names elsewhere that are looked up for one answer.
const LOOKUPS_MAX: usize = 4;

/// Times of the zone's SOA record that nobody acts on: there are no secondary servers.
const REFRESH_S: i32 = 7200;
const RETRY_S: i32 = 1800;
const EXPIRE_S: i32 = 86_400;

/// Clones share what they know.
#[derive(Clone)]
pub(super) struct Handler {
    view: Arc<RwLock<View>>,
    zones: Vec<Zone>,
    ttl_s: u32,
    forwarder: Arc<Forwarder>,
    metrics: Metrics,
}

/// What goes back, before it is encoded.
struct Reply {
    code: ResponseCode,
    is_ours: bool,
    is_truncated: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    extra: Vec<Record>,
}

impl Reply {
    fn refusal(code: ResponseCode) -> Self {
        Self {
            code,
            is_ours: false,
            is_truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl From<Message> for Reply {
    fn from(message: Message) -> Self {
        Self {
            code: message.metadata.response_code,
            is_ours: false,
            is_truncated: message.metadata.truncation,
            answers: message.answers,
            authorities: message.authorities,
            extra: message.additionals,
        }
    }
}

impl Handler {
    pub(super) fn new(
        view: Arc<RwLock<View>>,
        zones: Vec<Zone>,
        ttl_s: u32,
        forwarder: Forwarder,
        metrics: Metrics,
    ) -> Self {
        Self { view, zones, ttl_s, forwarder: Arc::new(forwarder), metrics }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.op_code != OpCode::Query {
            return Reply::refusal(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else {
            return Reply::refusal(ResponseCode::FormErr);
        };
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Reply::refusal(ResponseCode::BADVERS);
        }
        let qtype = info.query.query_type();
        let owner = info.query.original().name();
        let is_internet = matches!(info.query.query_class(), DNSClass::IN | DNSClass::ANY);
        if !is_internet || matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
            return Reply::refusal(ResponseCode::Refused);
        }
        match self.look_up(owner, qtype) {
            Looked::Found(zone, outcome) => self.answer(zone, *outcome, owner, qtype).await,
            Looked::TooEarly => Reply::refusal(ResponseCode::ServFail),
            Looked::NotOurs => self.forward(request).await,
        }
    }

    fn look_up(&self, owner: &Name, qtype: RecordType) -> Looked<'_> {
        let view = self.view.read();
        match resolve(&view, &self.zones, owner, qtype, self.ttl_s) {
            None => Looked::NotOurs,
            Some(_) if !view.is_complete => Looked::TooEarly,
            Some((zone, outcome)) => Looked::Found(zone, Box::new(outcome)),
        }
    }

    async fn answer(
        &self,
        zone: &Zone,
        mut outcome: Outcome,
        owner: &Name,
        qtype: RecordType,
    ) -> Reply {
        outcome.rotate();
        let Outcome { exists, mut answers, extra, elsewhere, .. } = outcome;
        if self.forwarder.is_configured() {
            for name in elsewhere.into_iter().take(LOOKUPS_MAX) {
                if let Ok(found) = self.forwarder.look_up(name, qtype).await {
                    answers.extend(found.answers);
                }
            }
        }
        if *owner == zone.name {
            answers.extend(self.apex(zone, qtype));
        }
        let exists = exists || !answers.is_empty();
        let authorities =
            if answers.is_empty() { vec![self.start_of_authority(zone)] } else { Vec::new() };
        let code = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
        Reply { code, is_ours: true, is_truncated: false, answers, authorities, extra }
    }

    async fn forward(&self, request: &Request) -> Reply {
        if !self.forwarder.is_configured() || !request.metadata.recursion_desired {
            return Reply::refusal(ResponseCode::Refused);
        }
        self.metrics.forwarded.inc();
        let whole = request.protocol() != Protocol::Udp;
        match self.forwarder.ask(request.as_slice(), whole).await {
            Ok(answer) => answer.into(),
            Err(error) => {
                self.metrics.forward_failures.inc();
                tracing::debug!("a question was passed on in vain: {error}");
                Reply::refusal(ResponseCode::ServFail)
            }
        }
    }

    /// What belongs to the zone's own name.
    fn apex(&self, zone: &Zone, qtype: RecordType) -> Option<Record> {
        match qtype {
            RecordType::SOA => Some(self.start_of_authority(zone)),
            RecordType::NS => {
                let rdata = RData::NS(NS(server_name(zone)));
                Some(Record::from_rdata(zone.name.clone(), self.ttl_s, rdata))
            }
            _ => None,
        }
    }

    /// Comes with negative answers: its lifetime is theirs, and what does not exist yet may at any
    /// moment, so it is as short as that of the others.
    fn start_of_authority(&self, zone: &Zone) -> Record {
        let mail = zone.name.prepend_label("hostmaster").unwrap_or_else(|_| zone.name.clone());
        let serial = 1;
        let soa =
            SOA::new(server_name(zone), mail, serial, REFRESH_S, RETRY_S, EXPIRE_S, self.ttl_s);
        Record::from_rdata(zone.name.clone(), self.ttl_s, RData::SOA(soa))
    }
}

enum Looked<'a> {
    Found(&'a Zone, Box<Outcome>),
    /// The keys have not been listed yet.
    TooEarly,
    NotOurs,
}

/// `ns.dns.<zone>`, as SkyDNS has it.
fn server_name(zone: &Zone) -> Name {
    let name = Name::from_labels([b"ns".as_slice(), b"dns"]);
    name.and_then(|name| name.append_domain(&zone.name)).unwrap_or_else(|_| zone.name.clone())
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let reply = self.reply(request).await;
        self.metrics.responded(code_name(reply.code));
        let mut header = Header::response_from_request(&request.metadata);
        header.message_type = MessageType::Response;
        header.response_code = reply.code;
        header.authoritative = reply.is_ours;
        header.truncation = reply.is_truncated;
        header.recursion_available = self.forwarder.is_configured();
        let edns = request.edns.as_ref().map(|asked| edns(asked, reply.code));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let Reply { answers, authorities, extra, .. } = &reply;
        let message = builder.build(header, answers, authorities, [], extra);
        match response.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!("an answer could not be sent: {error}");
                hickory_proto::op::Header { metadata: header, counts: Default::default() }.into()
            }
        }
    }
}

/// The client's EDNS, answered: datagrams as large as it takes, within reason.
fn edns(asked: &Edns, code: ResponseCode) -> Edns {
    let mut edns = Edns::new();
    let bytes = asked.max_payload().clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
    edns.set_max_payload(bytes).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
    edns.set_rcode_high(code.high());
    edns
}

fn code_name(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NotImp => "NOTIMP",
        _ => "other",
    }
}
