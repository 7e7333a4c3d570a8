//! JSON web tokens, in the same calls to berth and to etcd.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Program, Server, bounded};

use crate::server::{berth, flag, tell};
use crate::tokens::{Said, Users};

/// Keys made by openssl, in the forms that it and etcd know.
struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, words: &str) {
        let program = testkit::require("openssl", "openssl");
        let mut command = Command::new(program);
        let told = tell(command.current_dir(self.dir.path()).args(words.split(' ')));
        assert!(told.is_ok(), "openssl {words}: {told:?}");
    }

    /// The private key and, if there is one, the public one for a method.
    fn make(&self, method: &str) -> (PathBuf, Option<PathBuf>) {
        let (private, public) = (self.path(&format!("{method}.key")), format!("{method}.pub"));
        match &method[..2] {
            "HS" => std::fs::write(&private, "a shared secret\n").unwrap(),
            "RS" | "PS" => self.openssl(&format!("genrsa -out {method}.key 2048")),
            "ES" => {
                let curve = if method == "ES384" { "secp384r1" } else { "prime256v1" };
                let line = format!("ecparam -name {curve} -genkey -noout -out {method}.key");
                self.openssl(&line);
            }
            _ => self.openssl(&format!("genpkey -algorithm ed25519 -out {method}.key")),
        }
        if method.starts_with("HS") {
            return (private, None);
        }
        self.openssl(&format!("pkey -in {method}.key -pubout -out {public}"));
        (private, Some(self.path(&public)))
    }
}

fn auth_token(method: &str, private: Option<&Path>, public: Option<&Path>, ttl: &str) -> String {
    let mut text = format!("--auth-token=jwt,sign-method={method},ttl={ttl}");
    for (name, path) in [("priv-key", private), ("pub-key", public)] {
        if let Some(path) = path {
            text += &flag(&format!(",{name}"), path).replace("--", "");
        }
    }
    text
}

async fn start(program: Program, token: &str) -> Server {
    Server::start(program, &[token, "--bcrypt-cost=4"]).await
}

/// A user's life with tokens, and what was answered.
async fn transcript(server: &Server) -> (Vec<(&'static str, Said)>, String) {
    let mut users = Users::new(server);
    users.enable().await;
    let ann = users.token("ann", "annpw").await.unwrap();
    let root = users.token("root", "rootpw").await.unwrap();
    let mut said = vec![
        ("a wrong password", users.token("ann", "wrong").await.map(drop)),
        ("her own key", users.put("k", &ann).await),
        ("another key", users.put("other", &ann).await),
        ("no admin", users.list(&ann).await),
        ("an admin", users.list(&root).await),
        ("no token", users.get("k", None).await),
        ("read", users.get("k", Some(&ann)).await),
    ];
    let first = ann.clone();
    for forged in [format!("{ann}x"), ann.replacen('.', "..", 1), "abc".to_owned(), String::new()] {
        said.push(("forged", users.get("k", Some(&forged)).await));
    }
    said.push(("a change of permissions", users.add_role("another", &root).await));
    said.push(("an old token reads", users.get("k", Some(&ann)).await));
    said.push(("an old token writes", users.put("k", &ann).await));
    said.push(("an old token watches", users.watch("k", &ann).await));
    said.push(("an old token of an admin administers", users.list(&root).await));
    said.push(("an old token of an admin writes", users.put("k", &root).await));
    let ann = users.token("ann", "annpw").await.unwrap();
    said.push(("a new token writes", users.put("k", &ann).await));
    said.push(("auth is off", users.disable(&root).await));
    said.push(("any token is good", users.put("k", &first).await));
    (said, first)
}

/// The same secret and the same log of auth: a token of one is one of the other.
async fn exchange(server: &Server, other_token: &str) -> Said {
    let mut users = Users::new(server);
    users.enable().await;
    users.put("k", other_token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_etcds() {
    // Shows for every method that etcd 3.4 and berth share that the answers are equal, and that
    // each takes the token that the other has signed.
    let keys = Keys::new();
    for method in ["RS256", "PS384", "ES256", "HS512"] {
        let (private, public) = keys.make(method);
        let flag = auth_token(method, Some(&private), public.as_deref(), "10m");
        let ours = start(berth(), &flag).await;
        let theirs = start(Program::etcd(), &flag).await;
        let (our_words, our_token) = transcript(&ours).await;
        let (their_words, their_token) = transcript(&theirs).await;
        assert_eq!(our_words, their_words, "{method}");
        let (fresh_ours, fresh_theirs) =
            (start(berth(), &flag).await, start(Program::etcd(), &flag).await);
        assert_eq!(exchange(&fresh_ours, &their_token).await, Ok(()), "{method}");
        assert_eq!(exchange(&fresh_theirs, &our_token).await, Ok(()), "{method}");
        let old = &our_words.iter().find(|(what, _)| *what == "an old token writes").unwrap().1;
        assert!(old.as_ref().unwrap_err().contains("revision of auth store is old"), "{old:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_sign_and_check() {
    // Shows a user's life with the methods that remain; EdDSA is younger than Debian's etcd.
    let keys = Keys::new();
    for method in ["RS384", "RS512", "PS256", "PS512", "ES384", "HS256", "HS384", "EdDSA"] {
        let (private, public) = keys.make(method);
        let flag = auth_token(method, Some(&private), public.as_deref(), "10m");
        let server = start(berth(), &flag).await;
        let mut users = Users::new(&server);
        users.enable().await;
        let token = users.token("ann", "annpw").await.unwrap();
        assert_eq!(users.put("k", &token).await, Ok(()), "{method}");
        assert!(users.put("k", &format!("{token}x")).await.is_err(), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_the_public_key_alone_checks() {
    // Shows that it gives no tokens, in etcd's words, and takes those of who has the private key;
    // a certificate is as good as a public key.
    let keys = Keys::new();
    let (private, public) = keys.make("RS256");
    keys.openssl("req -new -x509 -key RS256.key -subj /CN=m -days 1 -out RS256.crt");
    let signing = start(berth(), &auth_token("RS256", Some(&private), None, "10m")).await;
    let mut signers = Users::new(&signing);
    signers.enable().await;
    let token = signers.token("ann", "annpw").await.unwrap();
    let mut words = Vec::new();
    for (program, key) in [
        (berth(), public.clone().unwrap()),
        (berth(), keys.path("RS256.crt")),
        (Program::etcd(), public.unwrap()),
    ] {
        let server = start(program, &auth_token("RS256", None, Some(&key), "10m")).await;
        let mut users = Users::new(&server);
        users.enable().await;
        let refused = users.token("ann", "annpw").await.map(drop);
        words.push((refused, users.put("k", &token).await));
    }
    assert!(words[0].0.as_ref().unwrap_err().contains("verify-only"), "{words:?}");
    assert_eq!(words[0].1, Ok(()));
    assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_a_token() {
    // Shows that a token is refused once its time is up, in etcd's words.
    let keys = Keys::new();
    let (private, _) = keys.make("HS256");
    let flag = auth_token("HS256", Some(&private), None, "1s");
    let mut words = Vec::new();
    for program in [berth(), Program::etcd()] {
        let server = start(program, &flag).await;
        let mut users = Users::new(&server);
        users.enable().await;
        let token = users.token("ann", "annpw").await.unwrap();
        let ended = async {
            loop {
                match users.put("k", &token).await {
                    Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                    Err(refusal) => return refusal,
                }
            }
        };
        words.push(bounded(ended).await);
    }
    assert!(words[0].contains("invalid auth token"), "{words:?}");
    assert_eq!(words[0], words[1]);
}
