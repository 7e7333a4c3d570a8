//! What the operator asked for: etcd's flags, `ETCD_*` environment and config file.
