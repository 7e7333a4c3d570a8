//! Passwords, their hashes, tokens and the keys of tokens: where they must never come.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use api::etcdserverpb::{AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest};
use prost::Message;
use rcgen::KeyPair;

use crate::server::{BERTH, Place, Running, berth, flag, tell};
use crate::strangers::questions::question;
use crate::strangers::raw::{Method, ask, channel, methods};
use crate::tokens::Users;

/// Passwords beside those of [`Users`]: of a new user, a new one, a wrong one.
const ADDED: &str = "added-hush";
const CHANGED: &str = "changed-hush";
const MISTAKEN: &str = "mistaken-hush";
/// A hash that a client has made: bcrypt's form in base64.
const HASHED: &str = "JDJhJDA0JGh1c2hodXNoaHVzaA==";
/// A token that nobody gave.
const FORGED: &str = "FORGEDhush";

/// Bcrypt's hashes begin so.
const HASH_MARKS: [&str; 2] = ["$2a$", "$2b$"];

/// A way to make tokens: the flag, and what is in its key file.
struct Kind {
    auth_token: String,
    key: String,
}

fn kinds(place: &Place) -> [Kind; 3] {
    let jwt = |method: &str, key: String| {
        let path = place.path(method);
        fs::write(&path, &key).unwrap();
        let auth_token = format!("jwt,sign-method={method},priv-key={}", path.display());
        Kind { auth_token, key }
    };
    [
        Kind { auth_token: "simple".to_owned(), key: String::new() },
        jwt("HS256", "the key of tokens, hush".to_owned()),
        jwt("ES256", KeyPair::generate().unwrap().serialize_pem()),
    ]
}

/// Every RPC of the Auth service; turning auth off comes last.
fn calls() -> Vec<(Method, Vec<u8>)> {
    let mut methods = methods("etcd", "etcdserverpb");
    methods.retain(|method| method.path.contains(".Auth/"));
    methods.sort_by_key(|method| method.path.ends_with("/AuthDisable"));
    let call = |method: Method| {
        let name = method.path.rsplit_once('.').unwrap().1;
        let message = own_question(name).or_else(|| question(name)).unwrap();
        (method, message)
    };
    methods.into_iter().map(call).collect()
}

/// With passwords that are right, so that they go all the way.
fn own_question(method: &str) -> Option<Vec<u8>> {
    let change = |password: &str, hashed_password: &str| AuthUserChangePasswordRequest {
        name: "ann".to_owned(),
        password: password.to_owned(),
        hashed_password: hashed_password.to_owned(),
    };
    Some(match method {
        "Auth/Authenticate" => {
            let (name, password) = ("ann".to_owned(), "annpw".to_owned());
            AuthenticateRequest { name, password }.encode_to_vec()
        }
        "Auth/UserAdd" => {
            let (name, password) = ("bob".to_owned(), ADDED.to_owned());
            AuthUserAddRequest { name, password, hashed_password: HASHED.to_owned(), options: None }
                .encode_to_vec()
        }
        "Auth/UserChangePassword" => change(CHANGED, HASHED).encode_to_vec(),
        _ => return None,
    })
}

/// Asks everything of the server at `url`: as root, as a user, as a stranger, with a forged token.
/// Adds the tokens that were given to `hidden`, of which nothing may be in another answer. Auth is
/// on afterwards.
async fn ask_everything(url: &str, hidden: &mut Vec<String>) {
    let mut users = Users::at(url);
    users.enable().await;
    let (ann, root) = (users.token("ann", "annpw").await, users.token("root", "rootpw").await);
    let (ann, root) = (ann.unwrap(), root.unwrap());
    assert_eq!(users.put("k", &ann).await, Ok(()));
    let refused = users.token("ann", MISTAKEN).await.unwrap_err();
    for token in [&ann, &root] {
        // The random part of a simple token, the signature of the others.
        let by_point: Vec<&str> = token.split('.').collect();
        hidden.push(by_point[if by_point.len() == 2 { 0 } else { 2 }].to_owned());
    }
    assert_hidden("a wrong password is refused", &refused, hidden);

    let channel = channel(url);
    for token in [None, Some(FORGED.to_owned()), Some(ann), Some(root)] {
        let headers: Vec<_> = token.into_iter().map(|token| ("token", token)).collect();
        for (method, message) in calls() {
            let answer = ask(&channel, &method, message, &headers).await;
            if !method.path.ends_with("/Authenticate") {
                let text = String::from_utf8_lossy(&answer.everything()).into_owned();
                assert_hidden(&method.path, &text, hidden);
            }
        }
    }
    let enable = calls().into_iter().find(|(method, _)| method.path.ends_with("/AuthEnable"));
    let (method, message) = enable.unwrap();
    assert_eq!(ask(&channel, &method, message, &[]).await.words, "");
}

fn assert_hidden(what: &str, text: &str, hidden: &[String]) {
    for secret in hidden {
        assert!(!text.contains(secret.as_str()), "{secret} is in {what}:\n{text}");
    }
}

fn metrics(place: &Place) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", place.client)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("grpc_server_handled_total"), "{text}");
    text
}

fn start(place: &Place, url: &str, auth_token: &str, data: &Path) -> Running {
    let flags = [
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        flag("data-dir", data),
        format!("--auth-token={auth_token}"),
        "--bcrypt-cost=4".to_owned(),
        "--log-level=debug".to_owned(),
        "--metrics=extensive".to_owned(),
    ];
    place.start(&berth(), &flags)
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_no_metric_and_no_error() {
    // Shows, for each kind of tokens, that with every RPC of the Auth service asked by everybody
    // and everything logged, no password, hash, token or key is in the log, in the metrics, in an
    // answer, or in what the client prints. The names of users are in the log: it was looked at.
    let place = Place::new();
    let url = format!("http://127.0.0.1:{}", place.client);
    for (number, kind) in kinds(&place).into_iter().enumerate() {
        let mut server = start(&place, &url, &kind.auth_token, &place.path(&number.to_string()));
        let passwords = ["rootpw", "annpw", ADDED, CHANGED, MISTAKEN, HASHED, FORGED];
        let lines = kind.key.lines().filter(|line| !line.starts_with("-----"));
        let mut hidden: Vec<String> =
            passwords.into_iter().chain(HASH_MARKS).chain(lines).map(ToString::to_string).collect();
        ask_everything(&url, &mut hidden).await;

        let user = format!("--user=root:{MISTAKEN}");
        let told = tell(Command::new(BERTH).args(["ctl", "--endpoints", &url, &user, "get", "k"]));
        assert!(told.error.contains("authentication failed"), "{told:?}");
        assert_hidden("what the client prints", &format!("{told:?}"), &hidden);
        assert_hidden("/metrics", &metrics(&place), &hidden);
        server.says(&["invalid authentication was requested", "ann"]);
        assert_hidden("the log", &server.log(), &hidden);
    }
}

#[test]
fn a_refused_start_tells_no_secret() {
    // Shows that the line which names the file or the flag that is wrong holds nothing of it.
    let place = Place::new();
    let key = place.path("key");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nhushhush\n-----END PRIVATE KEY-----\n").unwrap();
    let jwt = format!("--auth-token=jwt,sign-method=RS256,priv-key={}", key.display());
    let hidden = ["hush".to_owned()];
    for (flag, named) in
        [(jwt.as_str(), key.to_str().unwrap()), ("--discovery-password=hush", "discovery-password")]
    {
        let mut flags = place.with_certificate();
        flags.push(flag.to_owned());
        let (code, log) = place.refusal(&flags);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(named), "{log}");
        assert_hidden("the log", &log, &hidden);
    }
}
