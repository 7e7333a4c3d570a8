//! Wire types: what crosses a socket or enters the log, and nothing else.
//!
//! Generated at build time from `proto/`. The etcd packages keep etcd's field numbers for ever.
//! This room holds no behaviour: a decision about a message belongs to the room that makes it.

/// Keys, values and events.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles and permissions.
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// Leases, as they are kept on disk.
pub mod leasepb {
    tonic::include_proto!("leasepb");
}

/// The etcd v3 services and their messages.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");

    /// The Watch service as the server offers it: events come encoded.
    pub mod encoded {
        tonic::include_proto!("etcdserverpb.Watch");
    }
    pub use encoded::watch_server as encoded_watch_server;
}

/// etcd's lock service.
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// etcd's election service.
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// Every message and service above, with the HTTP paths of the methods: an encoded
/// `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Berth's own: log commands, and etcd messages in half-encoded form.
pub mod berthpb {
    tonic::include_proto!("berthpb");
}

mod headed;
pub use headed::{Headed, encode_header};

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
