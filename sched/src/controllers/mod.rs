//! What keeps the cluster as it was asked to be: replicas, rollouts, jobs, nodes, endpoints.
pub(crate) mod action;
pub(crate) mod deployment;
pub(crate) mod id;
pub(crate) mod model;
pub(crate) mod replicas;
