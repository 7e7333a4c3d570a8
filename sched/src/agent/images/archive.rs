//! An archive of images, opened into a directory of its own, and the documents in it.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Error, Images, Result, layer, while_doing};

/// A document of an archive is this small.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// `manifest.json` of `docker save`: one for each image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// `index.json` of an OCI layout, and an index in it.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) annotations: std::collections::BTreeMap<String, String>,
    pub(super) platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        self.media_type.ends_with("image.index.v1+json")
            || self.media_type.ends_with("manifest.list.v2+json")
    }
}

/// An archive whose files can be looked at in any order.
pub(super) struct Opened {
    directory: tempfile::TempDir,
}

impl Opened {
    pub(super) fn new(images: &Images, archive: &Path) -> Result<Self> {
        let directory = images.incoming()?;
        let opening = || while_doing(format!("reading {}", archive.display()));
        let reader = layer::decompressed(archive).map_err(opening())?;
        tar::Archive::new(reader).unpack(directory.path()).map_err(opening())?;
        Ok(Self { directory })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.directory.path().join(name).is_file()
    }

    pub(super) fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(&bytes).map_err(while_doing(format!("{name} of the archive")))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let reading = || while_doing(format!("{name} of the archive"));
        let file = std::fs::File::open(self.path(name)?).map_err(reading())?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes).map_err(reading())?;
        Ok(bytes)
    }

    pub(super) fn path(&self, name: &str) -> Result<PathBuf> {
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(name).components().all(is_inside) {
            return Err(Error::invalid(format!("{name:?} is no file of the archive")));
        }
        let path = self.directory.path().join(name);
        // Links may lead out of it.
        let root = self.directory.path().canonicalize();
        match (path.canonicalize(), root) {
            (Ok(real), Ok(root)) if real.starts_with(&root) => Ok(real),
            _ => Err(Error::invalid(format!("the archive has no {name:?}"))),
        }
    }

    /// Where an OCI layout keeps what has a digest.
    pub(super) fn blob_name(digest: &str) -> String {
        format!("blobs/{}", digest.replacen(':', "/", 1))
    }

    /// What an OCI layout has under a digest, which it must have.
    pub(super) fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = self.bytes(&Self::blob_name(digest))?;
        let found = format!("sha256:{}", layer::hex(&Sha256::digest(&bytes)));
        if found != digest {
            return Err(Error::invalid(format!("{digest} of the archive is {found} instead")));
        }
        Ok(bytes)
    }

    pub(super) fn blob_document<T: DeserializeOwned>(&self, digest: &str) -> Result<T> {
        let bytes = self.blob(digest)?;
        serde_json::from_slice(&bytes).map_err(while_doing(format!("{digest} of the archive")))
    }
}
