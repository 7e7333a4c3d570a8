//! What members say to each other: openraft's messages and our own, over any transport.
//!
//! Here is what a message means, and who may send it. How bytes travel is the transport's
//! business: gRPC in the server, memory in simulators. Nothing here may trust that a message
//! reached the one it was meant for, or came from whom it names: the service checks the envelope
//! of each before it looks further.

mod addresses;
pub mod transport;

pub use addresses::AddressBook;
pub use transport::{Answers, Link, LinkError, NoTransport, Purpose, Receiver, Route, Transport};
