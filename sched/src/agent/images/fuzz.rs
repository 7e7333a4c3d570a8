//! The entry for fuzzing: archives from bytes that nobody wrote.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Images, Reference, layer};

/// What an entry of the archive is.
const TYPES: [u8; 9] = *b"0125Lxg34";
/// Bytes of a tar header's name, and of what it links to.
const NAME_BYTES: usize = 100;

/// Reads arbitrary bytes as an archive of images, and as the name of one.
///
/// The first byte chooses: 0, and the rest are the archive; 1, and it is compressed; 2, and the rest
/// are entries whose headers are right: a byte for the type, one for the length of the name, one for
/// that of what it links to, two for that of the content, then these; any other, and they are the
/// entries of a layer, in an archive that is right. Importing must answer or refuse, never panic, and
/// touch nothing outside of its directory; what it imports must be found again.
pub fn archive_arbitrary(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    name(rest);
    import(&match mode {
        0 => rest.to_vec(),
        1 => compressed(rest),
        2 => entries(rest),
        _ => with_layer(&entries(rest)),
    });
}

/// A name that is one can be read again, as it is written in full.
fn name(text: &[u8]) {
    let Ok(Ok(name)) = std::str::from_utf8(text).map(str::parse::<Reference>) else { return };
    assert_eq!(name.to_string().parse(), Ok(name));
}

fn import(archive: &[u8]) {
    let root = tempfile::tempdir().expect("a directory for it");
    let (place, file) = (root.path().join("images"), root.path().join("archive"));
    std::fs::write(&file, archive).expect("a file for it");
    let images = Images::open(&place).expect("an empty directory can be opened");
    let fallback: Reference = "a.b/c:d".parse().expect("it is a name");
    if let Ok(names) = images.import(&file, Some(&fallback)) {
        for name in names {
            assert!(images.find(&name).expect("the list can be read").is_some(), "{name} is gone");
        }
    }
    assert_eq!(names_in(root.path()), ["archive", "images"].map(PathBuf::from).into());
    assert_eq!(std::fs::read(&file).expect("it is still there"), archive);
    assert_eq!(names_in(&place.join("incoming")), BTreeSet::new(), "something is left behind");
    let known = ["layers", "incoming", "images.json", "lock", "unpacking"].map(PathBuf::from);
    assert!(names_in(&place).is_subset(&known.into()), "{:?}", names_in(&place));
    let layers = names_in(&place.join("layers"));
    let is_digest = |name: &PathBuf| name.to_string_lossy().bytes().all(|b| b.is_ascii_hexdigit());
    assert!(layers.iter().all(is_digest), "{layers:?}");
}

fn names_in(directory: &Path) -> BTreeSet<PathBuf> {
    let names = std::fs::read_dir(directory).expect("it is there");
    names.map(|entry| PathBuf::from(entry.expect("it can be read").file_name())).collect()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).and_then(|()| out.finish()).expect("a vector takes all")
}

/// A tar file.
fn entries(mut data: &[u8]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    while let Some(([kind, name, link, high, low], mut rest)) = data.split_first_chunk::<5>() {
        let mut take = |length: usize| {
            let (taken, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            taken
        };
        let name = take(usize::from(*name).min(NAME_BYTES));
        let link = take(usize::from(*link).min(NAME_BYTES));
        let content = take(usize::from(u16::from_be_bytes([*high, *low])));
        data = rest;
        let header = header(TYPES[usize::from(*kind) % TYPES.len()], name, link, content.len());
        out.append(&header, content).expect("a vector takes all");
    }
    out.into_inner().expect("a vector takes all")
}

/// As `docker save` writes an image of one layer.
fn with_layer(layer: &[u8]) -> Vec<u8> {
    let diff_id = format!("sha256:{}", layer::hex(&Sha256::digest(layer)));
    let config = json!({"rootfs": {"diff_ids": [diff_id]}}).to_string();
    let manifest = json!([{"Config": "config", "RepoTags": null, "Layers": ["layer"]}]).to_string();
    let mut out = tar::Builder::new(Vec::new());
    for (name, content) in
        [("manifest.json", manifest.as_bytes()), ("config", config.as_bytes()), ("layer", layer)]
    {
        let header = header(b'0', name.as_bytes(), b"", content.len());
        out.append(&header, content).expect("a vector takes all");
    }
    out.into_inner().expect("a vector takes all")
}

/// The name as it is, which no builder would write.
fn header(kind: u8, name: &[u8], link: &[u8], size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_size(size as u64);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/image_archive");
        let mut files = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            archive_arbitrary(&std::fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 5, "the corpus has {files} files");
    }

    /// Names that lead out, names of documents, and what hides others.
    fn some_name() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec![
                "a",
                "b",
                "..",
                ".",
                "/",
                "/",
                "/",
                ".wh.",
                ".wh..wh..opq",
                "manifest.json",
                "index.json",
                "archive",
                "blobs",
                "\u{e4}",
            ]),
            0..6,
        )
        .prop_map(|parts| parts.concat())
    }

    fn some_entry() -> impl Strategy<Value = (u8, String, String)> {
        (any::<u8>(), some_name(), some_name())
    }

    fn written(entries: &[(u8, String, String)], content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, name, link) in entries {
            let length = |text: &str| u8::try_from(text.len()).unwrap();
            out.extend([*kind, length(name), length(link)]);
            out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            out.extend([name.as_bytes(), link.as_bytes(), content].concat());
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_archive_stays_in_its_directory(
            entries in prop::collection::vec(some_entry(), 0..8),
            content in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            // Proves the same for names and links that lead elsewhere.
            let mut data = vec![2];
            data.extend(written(&entries, &content));
            archive_arbitrary(&data);
        }

        #[test]
        fn any_layer_stays_in_its_directory(entries in prop::collection::vec(some_entry(), 0..8)) {
            // Proves the same for a layer whose image is right.
            let mut data = vec![3];
            data.extend(written(&entries, b"content"));
            archive_arbitrary(&data);
        }
    }
}
