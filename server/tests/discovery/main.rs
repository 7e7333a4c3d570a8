//! Discovery from outside: instances that register, fail, leave and come back, and who finds them.
//!
//! Everything goes through the binary's command line, `dig`, HAProxy, nginx and the wire.
//! `BERTH_TEST_SUBJECT=etcd` puts the real etcd in the store's place: discovery is a client of
//! either.

mod cluster_names;
mod cuts;
mod dig;
mod dns;
mod documents;
mod expiry;
mod failures;
mod members;
mod proxies;
mod register;
mod services;
mod skydns;
mod template;
mod tool;
mod turns;
