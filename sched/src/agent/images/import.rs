//! Archives of images: what `docker save` writes, and OCI layouts.

use std::path::Path;

use super::archive::{Descriptor, Index, Manifest, Opened, Saved};
use super::config::Config;
use super::{Error, Images, Reference, Result, Unpacked, layer, while_doing};

/// Annotations that name an image in an OCI layout, the full name first.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// An index may name others.
const DEPTH_MAX: usize = 4;

pub(super) fn read(
    images: &Images,
    archive: &Path,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Unpacked)>> {
    let opened = Opened::new(images, archive)?;
    let found = if opened.has("manifest.json") {
        saved(images, &opened, name)?
    } else if opened.has("index.json") {
        layout(images, &opened, name)?
    } else {
        return Err(Error::invalid(format!(
            "{} has neither manifest.json nor index.json: it is no archive of docker save and no \
             OCI layout",
            archive.display()
        )));
    };
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "no image in {} has a name: give one with --name",
            archive.display()
        )));
    }
    Ok(found)
}

fn saved(
    images: &Images,
    opened: &Opened,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Unpacked)>> {
    let mut found = Vec::new();
    for saved in opened.document::<Vec<Saved>>("manifest.json")? {
        let image = unpack(images, opened, &opened.bytes(&saved.config)?, &saved.layers)?;
        for tag in saved.repo_tags.unwrap_or_default() {
            found.push((tag.parse().map_err(Error::invalid)?, image.clone()));
        }
        found.extend(name.map(|name| (name.clone(), image)));
    }
    Ok(found)
}

fn layout(
    images: &Images,
    opened: &Opened,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Unpacked)>> {
    let mut found = Vec::new();
    for descriptor in opened.document::<Index>("index.json")?.manifests {
        let written = NAMES.iter().find_map(|key| descriptor.annotations.get(*key));
        // A bare tag is a name by the layout's rules, and tells too little here.
        let written: Option<Reference> = written.and_then(|name| name.parse().ok());
        let names: Vec<Reference> = name.cloned().or(written).into_iter().collect();
        if names.is_empty() {
            continue;
        }
        let manifest = resolve(opened, &descriptor, DEPTH_MAX)?;
        let layers: Vec<String> =
            manifest.layers.iter().map(|layer| Opened::blob_name(&layer.digest)).collect();
        let image = unpack(images, opened, &opened.blob(&manifest.config.digest)?, &layers)?;
        found.extend(names.into_iter().map(|name| (name, image.clone())));
    }
    Ok(found)
}

/// The manifest for this machine.
fn resolve(opened: &Opened, descriptor: &Descriptor, depth: usize) -> Result<Manifest> {
    if !descriptor.is_index() {
        return opened.blob_document(&descriptor.digest);
    }
    let index: Index = opened.blob_document(&descriptor.digest)?;
    let ours = index.manifests.iter().find(|descriptor| {
        let platform = descriptor.platform.as_ref();
        platform.is_none_or(|platform| is_ours(&platform.architecture, &platform.os))
    });
    match ours {
        Some(ours) if depth > 0 => resolve(opened, ours, depth - 1),
        _ => Err(Error::invalid(format!("no image for {} in the archive", machine()))),
    }
}

fn unpack(images: &Images, opened: &Opened, config: &[u8], layers: &[String]) -> Result<Unpacked> {
    let mut unpacked = Vec::new();
    let (config, id) = read_config(config)?;
    if config.rootfs.diff_ids.len() != layers.len() {
        return Err(Error::invalid(format!(
            "the image's configuration names {} layers, the manifest {}",
            config.rootfs.diff_ids.len(),
            layers.len()
        )));
    }
    for (name, diff_id) in layers.iter().zip(&config.rootfs.diff_ids) {
        let content = layer::decompressed(&opened.path(name)?)
            .map_err(while_doing(format!("layer {name}")))?;
        unpacked.push(layer::unpack(images, content, diff_id)?);
    }
    Ok(Unpacked { id, layers: unpacked, defaults: config.config, pulled_at: None })
}

/// A configuration and the image's id.
pub(super) fn read_config(bytes: &[u8]) -> Result<(Config, String)> {
    use sha2::Digest;
    let config: Config =
        serde_json::from_slice(bytes).map_err(while_doing("the image's configuration"))?;
    if !is_ours(&config.architecture, &config.os) {
        return Err(Error::invalid(format!(
            "the image is for {}/{}, this machine is {}",
            config.os,
            config.architecture,
            machine()
        )));
    }
    let id = format!("sha256:{}", layer::hex(&sha2::Sha256::digest(bytes)));
    Ok((config, id))
}

fn is_ours(architecture: &str, os: &str) -> bool {
    (architecture.is_empty() || architecture == go_architecture())
        && (os.is_empty() || os == "linux")
}

/// The architecture as images and nodes spell it.
pub(super) fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn machine() -> String {
    format!("linux/{}", go_architecture())
}
