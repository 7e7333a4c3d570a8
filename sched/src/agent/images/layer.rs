//! Unpacking one layer: a tar file whose `.wh.` entries hide what lies below them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use sha2::{Digest, Sha256};

use super::{Error, Images, Result, while_doing};

const HIDES: &str = ".wh.";
const HIDES_ALL: &str = ".wh..wh..opq";
/// Of a layer's digest, what names its directory: overlay mounts name all of them in one page.
const NAME_DIGITS: usize = 32;

/// Unpacks a layer, unless it is here, and returns the name of its directory.
///
/// # Errors
/// The content is not what `diff_id` promises, or cannot be written.
pub(super) fn unpack(images: &Images, layer: impl Read, diff_id: &str) -> Result<String> {
    let digits = diff_id.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::invalid(format!("{diff_id:?} is not the digest of a layer")));
    }
    let name = digits[..NAME_DIGITS].to_owned();
    let place = images.layers().join(&name);
    if place.exists() {
        return Ok(name);
    }
    let incoming = images.incoming()?;
    let mut digest = Digesting { inner: layer, digest: Sha256::new() };
    let unpacking = || while_doing(format!("unpacking layer {diff_id}"));
    unpack_entries(&mut digest, incoming.path()).map_err(unpacking())?;
    io::copy(&mut digest, &mut io::sink()).map_err(unpacking())?;
    let found = hex(&digest.digest.finalize());
    if found != digits {
        return Err(Error::invalid(format!("layer {diff_id} has digest sha256:{found} instead")));
    }
    std::fs::set_permissions(incoming.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(unpacking())?;
    match std::fs::rename(incoming.path(), &place) {
        Ok(()) => {}
        // Somebody else unpacked it meanwhile.
        Err(_) if place.exists() => {}
        Err(error) => return Err(unpacking()(error)),
    }
    Ok(name)
}

fn unpack_entries(layer: impl Read, directory: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(layer);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(rustix::process::geteuid().is_root());
    archive.set_overwrite(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        match path.file_name().and_then(std::ffi::OsStr::to_str) {
            Some(HIDES_ALL) => hide_all(directory, &path)?,
            Some(name) if name.starts_with(HIDES) => hide(directory, &path, &name[HIDES.len()..])?,
            // Devices are made by the runtime, as it allows them.
            _ if kind.is_character_special() || kind.is_block_special() => {}
            _ => {
                entry.unpack_in(directory)?;
            }
        }
    }
    Ok(())
}

/// The directory that a whiteout is in, made if the layer has not named it.
fn parent(directory: &Path, path: &Path) -> io::Result<std::path::PathBuf> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let mut place = directory.to_owned();
    for part in parent.components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            _ => return Err(io::Error::other(format!("{} leaves the layer", path.display()))),
        }
        if place.is_symlink() {
            return Err(io::Error::other(format!("{} is below a link", path.display())));
        }
    }
    std::fs::create_dir_all(&place)?;
    Ok(place)
}

/// A device 0/0 is how overlay file systems say that something is gone.
fn hide(directory: &Path, path: &Path, name: &str) -> io::Result<()> {
    let place = parent(directory, path)?.join(name);
    match rustix::fs::mknodat(CWD, &place, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn hide_all(directory: &Path, path: &Path) -> io::Result<()> {
    let place = parent(directory, path)?;
    Ok(rustix::fs::setxattr(&place, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// What is read, and its digest.
struct Digesting<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// Plain or gzip, told by the first bytes.
pub(super) fn decompressed(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    let count = file.read(&mut magic)?;
    io::Seek::rewind(&mut file)?;
    let file = io::BufReader::new(file);
    match &magic[..count] {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(io::Error::other("zstd is not supported, gzip is")),
        _ => Ok(Box::new(file)),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
