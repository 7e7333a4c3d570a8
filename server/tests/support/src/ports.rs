//! Free loopback ports.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection can take the
/// port of a server between its kill and its restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// What this program was given: whoever has a port may not listen there yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port on 127.0.0.1 that nobody listens on now, by TCP or UDP, and that nobody else is given.
pub fn free() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = rand::rng();
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let port = (0..1_000)
        .map(|_| random.random_range(PORTS))
        .find(|port| !given.contains(port) && is_free(port))
        .expect("one port of a thousand tried is free");
    given.insert(port);
    port
}
