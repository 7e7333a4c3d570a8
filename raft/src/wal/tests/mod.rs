//! Tests of the whole log: on a file system that loses power, against a model, and on real files.

mod basics;
mod crash;
mod damage;
mod format;
mod harness;
mod model;
