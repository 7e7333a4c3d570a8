//! etcd's gRPC services over one raft node.
