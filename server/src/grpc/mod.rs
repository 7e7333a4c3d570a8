//! etcd's gRPC services over one raft node.

pub mod watch;
