//! Images from archives in OCI layout.

use std::path::Path;

use sched::agent::images::Images;
use sched::agent::images_below;
use testkit::{Finished, Layout, Script, skipped};

const NAME: &str = "example.com/app:1";

async fn image(root: &Path, arguments: &[&str]) -> Finished {
    let root = root.display().to_string();
    let all = [&["image", "--root", &root], arguments].concat();
    Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), &all).run().await
}

async fn import(root: &Path, layout: &Layout, more: &[&str]) -> Finished {
    let archive = layout.archive().display().to_string();
    image(root, &[&["import", &archive], more].concat()).await
}

#[tokio::test]
async fn an_oci_layout_is_imported_whole_or_not_at_all() {
    // Proves that `berth image import` takes the image for this machine out of an index, layers that
    // are compressed and plain ones, with what the upper hides of the lower; that an archive without
    // a name needs one; and that a configuration or a layer which is not what its digest says is
    // refused, by its digest, with nothing listed.
    if !rustix::process::geteuid().is_root() {
        return skipped("an_oci_layout_is_imported_whole_or_not_at_all", "layers need root");
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let named = Layout::new(Some(NAME));
    let imported = import(&root, &named, &[]).await;
    assert_eq!(
        (imported.code, &*imported.stdout),
        (Some(0), "example.com/app:1\n"),
        "{imported:?}"
    );
    let listed = image(&root, &["list"]).await.stdout;
    assert_eq!(listed, format!("{NAME}\t{}\t2 layers\n", named.config));
    let images = Images::open(&images_below(&root)).unwrap();
    let found = images.find(&NAME.parse().unwrap()).unwrap().unwrap();
    assert_eq!(found.defaults.cmd, ["sh"]);
    let layer = |at: usize, file: &str| images.layers().join(&found.layers[at]).join(file);
    assert!(layer(0, "bin/busybox").is_file() && layer(0, "etc/passwd").is_file());
    assert_eq!(std::fs::read_to_string(layer(1, "note")).unwrap(), "from above\n");
    let hidden = std::fs::symlink_metadata(layer(1, "etc/passwd")).unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&hidden.file_type()));

    let nameless = Layout::new(None);
    let refused = import(&root, &nameless, &[]).await;
    assert!(refused.stderr.contains("give one with --name"), "{refused:?}");
    let imported = import(&root, &nameless, &["--name", "again"]).await;
    assert_eq!(imported.stdout, "docker.io/library/again:latest\n", "{imported:?}");

    for which in [&named.config, &named.layers[0], &named.layers[1]] {
        let root = tempfile::tempdir().unwrap();
        let whole = std::fs::read(named.file(which)).unwrap();
        let mut broken = whole.clone();
        let middle = broken.len() / 2;
        broken[middle] ^= 1;
        std::fs::write(named.file(which), &broken).unwrap();
        let refused = import(root.path(), &named, &[]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("sha256:"), "{refused:?}");
        assert_eq!(image(root.path(), &["list"]).await.stdout, "", "{which}");
        std::fs::write(named.file(which), &whole).unwrap();
    }
}
