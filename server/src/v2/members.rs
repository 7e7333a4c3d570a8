//! `/v2/members` and `/v2/machines`: who the members are, and changing that.

use api::berthpb::members_question::Change;
use api::berthpb::{AddMember, RemoveMember, UpdateMember};
use api::etcdserverpb::Member;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use raft::MembersError;
use serde::{Deserialize, Serialize};

use super::{V2, json};
use crate::grpc::{self, errors};

const METHODS: &[Method] = &[Method::GET, Method::POST, Method::DELETE, Method::PUT];

/// A list of addresses is short.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize)]
struct Members {
    members: Vec<MemberBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberBody {
    id: String,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// Why a request is refused.
struct Wrong {
    status: StatusCode,
    message: String,
}

impl Wrong {
    fn new(status: StatusCode, message: impl Into<String>) -> Wrong {
        Wrong { status, message: message.into() }
    }

    fn into_response(self) -> Response {
        match self.status {
            // Go's own words, as etcd has them here.
            StatusCode::METHOD_NOT_ALLOWED => crate::http::error(self.status, &self.message),
            status => error(status, &self.message),
        }
    }
}

/// An error in the shape that these paths and the statistics have.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json::response_unended(status, &Message { message })
}

/// Answers a request for what is behind `/v2/members`, without the first slash.
pub(super) async fn serve(v2: &V2, rest: &[u8], request: Request) -> Response {
    if !METHODS.contains(request.method()) {
        return super::method_not_allowed(METHODS);
    }
    let mut response = match v2.check_open() {
        Ok(()) => {
            let outcome = answer(v2, &String::from_utf8_lossy(rest), request).await;
            outcome.unwrap_or_else(Wrong::into_response)
        }
        Err(refused) => refused.into_response(),
    };
    v2.tell_cluster(response.headers_mut());
    response
}

async fn answer(v2: &V2, rest: &str, request: Request) -> Result<Response, Wrong> {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET => get(v2, rest),
        Method::POST => {
            let peer_urls = wanted(&parts.headers, body).await?;
            let id = grpc::new_member_id(v2.context.node(), &peer_urls);
            let add = Change::Add(AddMember { peer_urls, is_learner: false, id });
            let members = change(v2, add).await?;
            let added = members.into_iter().find(|member| member.id == id);
            let added = added.ok_or_else(|| no_such_member(&format!("{id:x}")))?;
            Ok(json::response(StatusCode::CREATED, &MemberBody::of(added)))
        }
        Method::DELETE => {
            change(v2, Change::Remove(RemoveMember { id: member_id(rest)? })).await?;
            Ok(no_content())
        }
        _ => {
            let id = member_id(rest)?;
            let peer_urls = wanted(&parts.headers, body).await?;
            change(v2, Change::Update(UpdateMember { id, peer_urls })).await?;
            Ok(no_content())
        }
    }
}

fn get(v2: &V2, rest: &str) -> Result<Response, Wrong> {
    let mut members = v2.context.node().members();
    match rest {
        "" => {
            members.sort_by_key(|member| member.id);
            let members = members.into_iter().map(MemberBody::of).collect();
            Ok(json::response(StatusCode::OK, &Members { members }))
        }
        "leader" => {
            let leader = v2.context.node().leader();
            let leader = members.into_iter().find(|member| Some(member.id) == leader);
            let leader = leader
                .ok_or_else(|| Wrong::new(StatusCode::SERVICE_UNAVAILABLE, "During election"))?;
            Ok(json::response(StatusCode::OK, &MemberBody::of(leader)))
        }
        _ => Err(Wrong::new(StatusCode::NOT_FOUND, "Not found")),
    }
}

/// `/v2/machines`: where clients reach the members, as older clients ask for it.
pub(super) fn machines(v2: &V2, method: &Method) -> Response {
    const METHODS: &[Method] = &[Method::GET, Method::HEAD];
    if !METHODS.contains(method) {
        return super::method_not_allowed(METHODS);
    }
    if let Err(refused) = v2.check_open() {
        return refused.into_response();
    }
    let members = v2.context.node().members();
    let mut urls: Vec<_> = members.into_iter().flat_map(|member| member.client_urls).collect();
    urls.sort();
    let mut response = Response::new(Body::from(urls.join(", ")));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

impl MemberBody {
    fn of(member: Member) -> MemberBody {
        let Member { id, name, peer_urls, client_urls, .. } = member;
        MemberBody { id: format!("{id:x}"), name, peer_urls, client_urls }
    }
}

async fn wanted(headers: &HeaderMap, body: Body) -> Result<Vec<String>, Wrong> {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.map(String::from_utf8_lossy).unwrap_or_default();
    // As etcd: without parameters it has to be written in lower case.
    let media_type = match content_type.split_once(';') {
        Some((media_type, _)) => media_type.trim().to_lowercase(),
        None => content_type.into_owned(),
    };
    if media_type != "application/json" {
        let text = format!("Bad Content-Type {media_type}, accept application/json");
        return Err(Wrong::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let body =
        body.map_err(|wrong| Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, wrong.to_string()))?;
    let bad = |text: String| Wrong::new(StatusCode::BAD_REQUEST, text);
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|wrong| bad(wrong.to_string()))?;
    grpc::peer_urls(&wanted.peer_urls).map_err(|wrong| bad(errors::text(wrong)))
}

fn member_id(rest: &str) -> Result<u64, Wrong> {
    if rest.is_empty() {
        return Err(Wrong::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let is_hex = rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if is_hex { u64::from_str_radix(rest, 16).ok() } else { None };
    id.ok_or_else(|| no_such_member(rest))
}

async fn change(v2: &V2, change: Change) -> Result<Vec<Member>, Wrong> {
    // Again: reading the body may have taken long, and auth may be on by now.
    let closed = |_| Wrong::new(StatusCode::UNAUTHORIZED, "the v2 API is closed while auth is on");
    v2.check_open().map_err(closed)?;
    let id = match &change {
        Change::Remove(remove) => remove.id,
        Change::Update(update) => update.id,
        _ => 0,
    };
    v2.context.node().change_members(change).await.map_err(|refused| {
        let status = match refused {
            MembersError::NotFound => return no_such_member(&format!("{id:x}")),
            MembersError::IdExists | MembersError::PeerUrlsExist => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Wrong::new(status, errors::text(refused))
    })
}

fn no_such_member(id: &str) -> Wrong {
    Wrong::new(StatusCode::NOT_FOUND, format!("No such member: {id}"))
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
