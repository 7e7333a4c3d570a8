//! Free loopback ports.

use std::net::{TcpListener, UdpSocket};

use rand::Rng;

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection can take the
/// port of a server between its kill and its restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A port on 127.0.0.1 that nobody listens on now, by TCP or UDP.
pub fn free() -> u16 {
    let mut random = rand::rng();
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    (0..1_000)
        .map(|_| random.random_range(PORTS))
        .find(is_free)
        .expect("one port of a thousand tried is free")
}
