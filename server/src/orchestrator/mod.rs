//! The commands of the orchestrator.

mod agent;
mod container;
mod image;
mod runtime;

pub use agent::run as agent;
pub use container::run as container;
pub use image::run as image;
