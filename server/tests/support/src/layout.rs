//! An image in an archive of OCI layout, as skopeo and buildah write it.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::image::{architecture, busybox_root, sha256, tar};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout that can still be changed: busybox in a plain layer, and on it one that is compressed,
/// with `/note` in it and without `/etc/passwd`.
#[derive(Debug)]
pub struct Layout {
    directory: TempDir,
    /// The digest of the image's configuration, and of its layers as they are in the archive.
    pub config: String,
    pub layers: [String; 2],
}

impl Layout {
    /// `name`: what the archive says that the image is called, if it does.
    ///
    /// # Panics
    /// Something that it is made with is missing.
    pub fn new(name: Option<&str>) -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir_all(directory.path().join("layout/blobs/sha256")).unwrap();
        let mut layout = Self { directory, config: String::new(), layers: Default::default() };
        let (plain, below) = layout.layer(&busybox_root(layout.directory.path()), false);
        let (compressed, above) = layout.layer(&layout.second_root(), true);
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [below, above]},
        });
        let config = layout.document(CONFIG, &config);
        layout.config = digest(&config);
        layout.layers = [digest(&plain), digest(&compressed)];
        layout.add_index(name, &config, &[plain, compressed]);
        layout
    }

    /// What this machine's image is named by: an index, in which another machine's comes first.
    fn add_index(&self, name: Option<&str>, config: &Value, layers: &[Value; 2]) {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let mut own = self.document(MANIFEST, &manifest);
        own["platform"] = json!({"architecture": architecture(), "os": "linux"});
        let mut other = self.document(MANIFEST, &json!({"schemaVersion": 2}));
        other["platform"] = json!({"architecture": "s390x", "os": "linux"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, own]});
        let mut index = self.document(INDEX, &index);
        if let Some(name) = name {
            index["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        let write = |name: &str, document: Value| {
            fs::write(self.path().join(name), document.to_string()).unwrap();
        };
        write("index.json", json!({"schemaVersion": 2, "manifests": [index]}));
        write("oci-layout", json!({"imageLayoutVersion": "1.0.0"}));
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    fn second_root(&self) -> PathBuf {
        let root = self.directory.path().join("second-root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("note"), "from above\n").unwrap();
        fs::write(root.join("etc/.wh.passwd"), "").unwrap();
        root
    }

    /// A layer's descriptor, and the digest of what it is without compression.
    fn layer(&self, root: &Path, is_compressed: bool) -> (Value, String) {
        let file = self.directory.path().join("layer.tar");
        tar(root, &file);
        let diff_id = sha256(&file);
        if !is_compressed {
            return (self.blob(LAYER, &file), diff_id);
        }
        assert!(Command::new("gzip").arg(&file).status().unwrap().success());
        let file = self.directory.path().join("layer.tar.gz");
        (self.blob(&format!("{LAYER}+gzip"), &file), diff_id)
    }

    fn document(&self, kind: &str, document: &Value) -> Value {
        let file = self.directory.path().join("document");
        fs::write(&file, document.to_string()).unwrap();
        self.blob(kind, &file)
    }

    /// Moves a file to where its digest says, and describes it.
    fn blob(&self, kind: &str, file: &Path) -> Value {
        let (digest, size) = (sha256(file), file.metadata().unwrap().len());
        fs::rename(file, self.file(&digest)).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": size})
    }

    /// Where it has what has this digest.
    pub fn file(&self, digest: &str) -> PathBuf {
        self.path().join("blobs").join(digest.replacen(':', "/", 1))
    }

    /// The archive, as the layout is now.
    pub fn archive(&self) -> PathBuf {
        let file = self.directory.path().join("layout.tar");
        tar(&self.path(), &file);
        file
    }
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}
