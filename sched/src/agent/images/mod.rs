//! Images of the `runc` runtime: unpacked layers on disk, shared by every container made of them.
//!
//! A layer is unpacked once, under its digest, beside the place and renamed into it, so that it is
//! there as a whole or not at all. This room must never run anything and never fetch by itself.
//!
//! Start at [`Images`]; `import.rs` reads archives, `layer.rs` unpacks, [`reference`] says what an
//! image is called.

mod archive;
mod collect;
mod config;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod import;
mod layer;
pub mod pull;
pub mod reference;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use collect::Used;
pub use config::Defaults;
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::archive_arbitrary;
pub use reference::Reference;

use super::files;
use super::runtime::error_while as while_doing;
use super::runtime::{Error, Result};

/// An unpacked image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// `sha256:` and the digest of its configuration.
    pub id: String,
    /// Directories below the store's `layers`, the lowest first.
    pub layers: Vec<String>,
    pub defaults: Defaults,
    /// When it came from a registry, which has it still; `None`: it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_at: Option<Timestamp>,
}

/// The images of one node.
///
/// *Shape on disk:* `layers/<32 hex digits of the diff id>/`, `images.json` (reference to image),
/// `incoming/` (what is being unpacked), `lock` and `unpacking` (files that are locked).
#[derive(Clone, Debug)]
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// # Errors
    /// The directory cannot be made.
    pub fn open(directory: &Path) -> Result<Self> {
        for part in ["layers", "incoming"] {
            let path = directory.join(part);
            std::fs::create_dir_all(&path).map_err(while_doing(path.display()))?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    pub fn layers(&self) -> PathBuf {
        self.directory.join("layers")
    }

    /// The image of a reference, if it is here. Blocks.
    ///
    /// # Errors
    /// The list of images cannot be read.
    pub fn find(&self, reference: &Reference) -> Result<Option<Unpacked>> {
        Ok(self.all()?.remove(&reference.to_string()))
    }

    /// Reads an archive that `docker save` wrote, or one in OCI layout, compressed or not, and
    /// returns what it holds. `name`: what to call an image that has no name in it. Blocks.
    ///
    /// # Errors
    /// It is no such archive, a digest is wrong, or the disk is full. Then nothing has changed but
    /// that some layers may be here already.
    pub fn import(&self, archive: &Path, name: Option<&Reference>) -> Result<Vec<Reference>> {
        let unpacking = self.unpacking()?;
        unpacking.lock_shared().map_err(while_doing("locking the layers"))?;
        let found = import::read(self, archive, name)?;
        let references = found.iter().map(|(reference, _)| reference.clone()).collect();
        self.add(found)?;
        Ok(references)
    }

    /// Every image by its reference. Blocks.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn all(&self) -> Result<BTreeMap<String, Unpacked>> {
        let path = self.list();
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(while_doing(path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(while_doing(path.display())(error)),
        }
    }

    fn add(&self, found: Vec<(Reference, Unpacked)>) -> Result<()> {
        // Two imports at once: the second must see what the first has added.
        let _list = self.lock()?;
        let mut all = self.all()?;
        all.extend(found.into_iter().map(|(reference, image)| (reference.to_string(), image)));
        self.write(&all)
    }

    /// The list of images, for oneself until it is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        let lock = File::create(&path).map_err(while_doing(path.display()))?;
        lock.lock().map_err(while_doing("locking the list of images"))?;
        Ok(lock)
    }

    fn write(&self, all: &BTreeMap<String, Unpacked>) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(all).map_err(while_doing("writing images.json"))?;
        files::replace(&self.list(), &bytes).map_err(while_doing("writing images.json"))
    }

    /// A file that is locked: shared by whoever unpacks layers, alone by whoever removes them.
    fn unpacking(&self) -> Result<File> {
        let path = self.directory.join("unpacking");
        File::create(&path).map_err(while_doing(path.display()))
    }

    fn list(&self) -> PathBuf {
        self.directory.join("images.json")
    }

    fn incoming(&self) -> Result<tempfile::TempDir> {
        tempfile::tempdir_in(self.directory.join("incoming"))
            .map_err(while_doing("making room for an image"))
    }
}

/// This machine's architecture as images and nodes spell it.
pub fn architecture() -> &'static str {
    import::go_architecture()
}
