//! The volumes of a pod: directories on the node that are mounted into its containers.
//!
//! They are made before the containers and removed after them. Files of ConfigMaps and Secrets
//! follow their changes, all at once. Nothing here must ever follow a link that a container made.
//!
//! Start at [`prepare`]; `content.rs` says what is in a volume's files, `publish.rs` writes them,
//! `below.rs` opens what a container mounts a part of.

mod below;
mod content;
mod publish;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

pub(super) use below::Held;
pub(super) use content::wanted;

use super::pod::env::{Facts, Sources};
use super::pod::spec;
use super::quantity;
use super::runtime::Mount;

/// Where each volume is, by its name.
pub(super) type Places = BTreeMap<String, PathBuf>;

/// Makes or refreshes all volumes of a pod below `directory`. Blocks.
///
/// # Errors
/// What is wrong, with the volume's name; for people. Trying again may help.
pub(super) fn prepare(
    directory: &Path,
    facts: Facts<'_>,
    sources: &Sources,
) -> Result<Places, String> {
    let volumes =
        spec::spec(facts.pod).and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut places = Places::new();
    for volume in volumes {
        let place = directory.join(&volume.name);
        let place = one(volume, place, facts, sources)
            .map_err(|error| format!("volume \"{}\": {error}", volume.name))?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

fn one(
    volume: &Volume,
    place: PathBuf,
    facts: Facts<'_>,
    sources: &Sources,
) -> Result<PathBuf, String> {
    if let Some(host) = &volume.host_path {
        return host_path(host);
    }
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    if let Some(empty) = &volume.empty_dir {
        empty_dir(empty, &place)?;
        return Ok(place);
    }
    let files = content::files(volume, facts, sources)?;
    publish::publish(&place, &files).map_err(|error| error.to_string())?;
    Ok(place)
}

fn empty_dir(empty: &EmptyDirVolumeSource, place: &Path) -> Result<(), String> {
    if empty.medium.as_deref() == Some("Memory") && !is_mounted(place) {
        let limit = empty.size_limit.as_ref().and_then(quantity::units);
        let data = limit.map_or("mode=0777".to_owned(), |bytes| format!("mode=0777,size={bytes}"));
        let data = std::ffi::CString::new(data).map_err(|error| error.to_string())?;
        mount(
            "tmpfs",
            place,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(data.as_c_str()),
        )
        .map_err(|error| format!("cannot mount memory: {error}"))?;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place, open).map_err(|error| error.to_string())
}

/// Whether a file system of its own is there.
fn is_mounted(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
    place.parent().is_some_and(|parent| device(place) != device(parent))
}

fn host_path(host: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&host.path);
    let kind = host.type_.as_deref().unwrap_or_default();
    let make = match kind {
        "DirectoryOrCreate" if !path.exists() => std::fs::create_dir_all(&path),
        "FileOrCreate" if !path.exists() => std::fs::File::create(&path).map(drop),
        _ => Ok(()),
    };
    make.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let data = std::fs::metadata(&path)
        .map_err(|error| format!("hostPath {}: {error}", path.display()))?;
    use std::os::unix::fs::FileTypeExt;
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => data.is_dir(),
        "File" | "FileOrCreate" => data.is_file(),
        "Socket" => data.file_type().is_socket(),
        "CharDevice" => data.file_type().is_char_device(),
        "BlockDevice" => data.file_type().is_block_device(),
        _ => true,
    };
    if fits { Ok(path) } else { Err(format!("hostPath {} is no {kind}", path.display())) }
}

/// What a container mounts of them, and what must be kept until it has.
///
/// # Errors
/// It names a volume that the pod has not, or a path that leads out of it.
pub(super) fn mounts(
    pod: &Pod,
    container: &Container,
    places: &Places,
    expand: impl Fn(&str) -> String,
) -> Result<(Vec<Mount>, Vec<Held>), String> {
    let (mut mounts, mut held) = (Vec::new(), Vec::new());
    for wanted in container.volume_mounts.iter().flatten() {
        let place = places
            .get(&wanted.name)
            .ok_or_else(|| format!("the pod has no volume \"{}\"", wanted.name))?;
        let below = match (&wanted.sub_path_expr, &wanted.sub_path) {
            (Some(expression), _) => expand(expression),
            (None, below) => below.clone().unwrap_or_default(),
        };
        let is_of_containers = is_of_containers(pod, &wanted.name);
        let part = match (below.is_empty(), is_of_containers) {
            (true, _) => None,
            (false, true) => Some(below::open(place, &below)?),
            (false, false) => Some(below::open_published(place, &below)?),
        };
        mounts.push(Mount {
            source: part.as_ref().map_or_else(|| place.clone(), Held::path),
            target: wanted.mount_path.clone(),
            read_only: wanted.read_only.unwrap_or(false) || !is_of_containers,
        });
        held.extend(part);
    }
    Ok((mounts, held))
}

/// Whether containers may write there. What the agent keeps up to date is its alone: it follows no
/// links that a container made.
fn is_of_containers(pod: &Pod, name: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut own = volumes.filter(|volume| volume.name == name);
    own.any(|volume| volume.empty_dir.is_some() || volume.host_path.is_some())
}

/// Removes all volumes of a pod. What is on the node by itself stays. Blocks.
///
/// # Errors
/// Something is still in use.
pub(super) fn remove(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if is_mounted(&entry.path()) {
            unmount(entry.path(), UnmountFlags::DETACH)?;
        }
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether any volume of a pod has files that may change.
pub(super) fn are_followed(pod: &Pod) -> bool {
    let volumes = spec::spec(pod).and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().any(|volume| volume.host_path.is_none() && volume.empty_dir.is_none())
}
