//! The node agent.

pub(crate) mod clock;
mod files;
pub mod images;
pub mod runtime;

/// Where an agent with this root keeps its images.
pub fn images_below(root: &std::path::Path) -> std::path::PathBuf {
    root.join("runc").join("images")
}
