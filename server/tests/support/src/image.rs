//! An image to run: Debian's static busybox, in the archive that `docker save` would write.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::require;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 16] = [
    "sh", "cat", "echo", "sleep", "true", "false", "ls", "mkdir", "nc", "httpd", "wget",
    "hostname", "id", "tar", "rm", "nslookup",
];

/// Writes an archive with one image, `busybox` with the usual applets, into a directory.
///
/// # Panics
/// Something that it is made with is missing.
pub fn busybox_archive(directory: &Path, name: &str) -> PathBuf {
    image_archive(directory, &[name], "sh")
}

/// The same under several names, with this script as what it runs unless told otherwise.
///
/// # Panics
/// Something that it is made with is missing.
pub fn image_archive(directory: &Path, names: &[&str], script: &str) -> PathBuf {
    let root = busybox_root(directory);
    let archive = directory.join("image");
    fs::create_dir_all(&archive).unwrap();
    tar(&root, &archive.join("layer.tar"));
    let digest = sha256(&archive.join("layer.tar"));
    let command = match script {
        "sh" => json!(["sh"]),
        script => json!(["sh", "-c", script]),
    };
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    fs::write(archive.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    fs::write(archive.join("manifest.json"), manifest.to_string()).unwrap();
    let file = directory.join("image.tar");
    tar(&archive, &file);
    fs::remove_dir_all(root).unwrap();
    fs::remove_dir_all(archive).unwrap();
    file
}

/// What is in the image.
pub(crate) fn busybox_root(directory: &Path) -> PathBuf {
    require("busybox", "busybox-static");
    let root = directory.join("image-root");
    for part in ["bin", "tmp", "etc"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n").unwrap();
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

/// This machine's, as images spell it.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// `sha256:...` of a file.
pub(crate) fn sha256(file: &Path) -> String {
    let sum = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    format!("sha256:{}", &String::from_utf8(sum).unwrap()[..64])
}

pub(crate) fn tar(from: &Path, to: &Path) {
    let status = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--file"])
        .arg(to)
        .arg("--directory")
        .arg(from)
        .arg(".")
        .status();
    assert!(status.unwrap().success());
}
