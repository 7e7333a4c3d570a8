//! A connection that is made when it is needed, and made again after it broke.

use std::sync::{Arc, Weak};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use raft::peer::{Purpose, Route};

use super::connection::Connection;
use super::dial::dial;
use super::presence::{Contact, Presence};
use crate::serve::tls::Connector;

/// The way to one member for one purpose.
pub(super) struct Wire {
    route: Route,
    purpose: Purpose,
    tls: Option<Connector>,
    presence: Arc<Presence>,
    state: Mutex<State>,
}

enum State {
    Down,
    /// All who need it wait for the same attempt.
    Dialing(Attempt),
    Up(Connection),
}

/// The reason is for people.
type Attempt = Shared<BoxFuture<'static, Result<Connection, String>>>;

impl Wire {
    pub(super) fn new(
        route: Route,
        purpose: Purpose,
        tls: Option<Connector>,
        presence: Arc<Presence>,
    ) -> Self {
        Self { route, purpose, tls, presence, state: Mutex::new(State::Down) }
    }

    pub(super) fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The connection; waits for it to be made. An attempt goes on when its callers have gone:
    /// somebody who is given little time would never get one otherwise. Cancel safe.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Connection, String> {
        let attempt = {
            let mut state = self.state.lock();
            match &*state {
                State::Up(connection) if connection.is_open() => return Ok(connection.clone()),
                State::Dialing(attempt) if attempt.peek().is_none() => attempt.clone(),
                State::Up(_) | State::Dialing(_) | State::Down => {
                    let attempt = self.dial();
                    *state = State::Dialing(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await
    }

    fn dial(self: &Arc<Self>) -> Attempt {
        let attempt = tokio::spawn(attempt(Arc::downgrade(self)));
        async { attempt.await.unwrap_or_else(|error| Err(error.to_string())) }.boxed().shared()
    }

    fn up(&self, connection: Connection) -> Connection {
        *self.state.lock() = State::Up(connection.clone());
        connection
    }

    fn down(&self, why: &str) {
        self.presence.unreachable(why);
        *self.state.lock() = State::Down;
    }
}

/// One attempt for `wire`, which does not have to live to its end.
async fn attempt(wire: Weak<Wire>) -> Result<Connection, String> {
    const UNWANTED: &str = "nobody needs it any more";
    let (urls, tls, purpose, presence) = {
        let wire = wire.upgrade().ok_or(UNWANTED)?;
        (wire.route.urls(), wire.tls.clone(), wire.purpose, wire.presence.clone())
    };
    let opened = async {
        let (stream, url) = dial(&urls, tls.as_ref()).await?;
        let contact = Contact::new(presence, purpose, url.clone());
        let (connection, ended) = Connection::open(stream, &url, purpose, contact.clone()).await?;
        tokio::spawn(watch(Weak::clone(&wire), contact, ended));
        Ok::<_, String>(connection)
    };
    let opened = opened.await;
    let wire = wire.upgrade().ok_or(UNWANTED)?;
    opened.map(|connection| wire.up(connection)).inspect_err(|why| wire.down(why))
}

/// Waits for the connection to end, and tells.
async fn watch(wire: Weak<Wire>, contact: Arc<Contact>, ended: impl Future<Output = String>) {
    let why = ended.await;
    // Without its wire it was closed from here.
    contact.ended(&why, wire.strong_count() == 0);
}
