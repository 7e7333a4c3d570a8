//! A user's token: taken at the first call, and again when it has run out.

use api::etcdserverpb::AuthenticateRequest;
use api::etcdserverpb::auth_client::AuthClient;
use parking_lot::Mutex;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

/// Who asks.
#[derive(Clone)]
pub struct Credentials {
    pub name: String,
    pub password: String,
}

/// The token of the moment, if there are credentials and the store wants one.
pub(super) struct Tokens {
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

#[derive(Clone)]
enum State {
    Unknown,
    /// The store asks nobody who they are.
    NotNeeded,
    Token(MetadataValue<Ascii>),
}

pub(super) type Token = Option<MetadataValue<Ascii>>;

impl Tokens {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        let state = if credentials.is_some() { State::Unknown } else { State::NotNeeded };
        Self { credentials, state: Mutex::new(state) }
    }

    /// The token for a call over `channel`; asks for one if there is none yet.
    pub(super) async fn token(&self, channel: &Channel) -> Result<Token, Status> {
        let state = self.state.lock().clone();
        let (State::Unknown, Some(credentials)) = (&state, &self.credentials) else {
            return Ok(if let State::Token(token) = state { Some(token) } else { None });
        };
        let state = authenticate(channel.clone(), credentials).await?;
        *self.state.lock() = state.clone();
        Ok(if let State::Token(token) = state { Some(token) } else { None })
    }

    /// Drops the token if that is why the call failed; then the call is worth another try.
    pub(super) fn renews(&self, status: &Status) -> bool {
        let spent = ["invalid auth token", "user name is empty", "revision of auth store is old"]
            .iter()
            .any(|text| status.message().contains(text));
        if spent && self.credentials.is_some() {
            *self.state.lock() = State::Unknown;
            return true;
        }
        false
    }
}

async fn authenticate(channel: Channel, credentials: &Credentials) -> Result<State, Status> {
    let Credentials { name, password } = credentials.clone();
    let answer =
        AuthClient::new(channel).authenticate(AuthenticateRequest { name, password }).await;
    match answer {
        Ok(answer) => {
            let token = answer.into_inner().token.parse();
            token
                .map(State::Token)
                .map_err(|_| Status::internal("the server sent a token that no header can carry"))
        }
        Err(status) if status.message().ends_with("authentication is not enabled") => {
            Ok(State::NotNeeded)
        }
        Err(status) => Err(status),
    }
}
