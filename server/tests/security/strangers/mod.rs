//! What a stranger gets: somebody who can connect, and has neither password nor certificate.
//!
//! Every RPC and every path is asked, without a token and with bad ones, and nothing that was
//! planted may be in an answer. The RPCs come from the `.proto` files, the paths from the routes:
//! what is added there later and not asked here fails these tests.

mod http;
mod members;
mod planted;
pub(crate) mod questions;
pub(crate) mod raw;
mod rpcs;
