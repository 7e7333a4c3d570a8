//! What members say to each other: openraft's messages and our own, over any transport.
//!
//! Here is what a message means, and who may send it. How bytes travel is the transport's
//! business: gRPC in the server, memory in simulators. Nothing here may trust that a message
//! reached the one it was meant for, or came from whom it names: [`service`] checks the envelope
//! of each before it looks further.
//!
//! Start at [`transport`], what a transport must do; then `network.rs`, the asking side as openraft
//! wants it, and `service.rs`, the answering side.

mod addresses;
mod envelope;
mod fuzz;
mod heard;
mod network;
mod patience;
mod service;
mod snapshot;
pub mod transport;
mod wire;

pub use addresses::AddressBook;
pub(crate) use envelope::{Identity, Roster};
pub use fuzz::decode_arbitrary;
pub(crate) use heard::Heard;
pub(crate) use network::{Limits, Network, removed};
pub(crate) use service::{Duties, Service, refusal};
pub use transport::{Answers, Link, LinkError, NoTransport, Purpose, Receiver, Route, Transport};
