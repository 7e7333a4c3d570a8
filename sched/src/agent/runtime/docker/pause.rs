//! The image of pause containers: nothing.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;

use super::{empty_archive, is_there};
use crate::agent::runtime::{Result, error_while};

pub(super) const IMAGE: &str = "berth/pause:empty";
/// Where the libraries of this very program are.
const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];
/// Where this very program is in the container.
pub(super) const PROGRAM: &str = "/berth";

pub(super) async fn make_image(engine: &bollard::Docker) -> Result<()> {
    if engine.inspect_image(IMAGE).await.is_ok() {
        return Ok(());
    }
    let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
    let options =
        CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag).build();
    let body = bollard::body_full(empty_archive());
    let mut progress = engine.create_image(Some(options), Some(body), None);
    while let Some(step) = progress.next().await {
        step.map_err(error_while("making the image of pause containers"))?;
    }
    Ok(())
}

/// What of the machine is mounted into it, read-only.
pub(super) fn binds(program: &std::path::Path) -> Vec<String> {
    let libraries = LIBRARIES.iter().copied().filter(is_there);
    let mut binds: Vec<String> = libraries.map(|path| format!("{path}:{path}:ro")).collect();
    binds.push(format!("{}:{PROGRAM}:ro", program.display()));
    binds
}
