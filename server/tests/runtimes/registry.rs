//! Images from a registry that the test serves.

use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use sched::agent::images::pull::Registries;
use sched::agent::images::{Images, Reference};
use sched::agent::runtime::Kind;
use testkit::busybox_archive;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What it serves, by digest and by tag.
#[derive(Clone)]
struct Registry(std::collections::HashMap<String, Vec<u8>>);

fn sha256(file: &Path) -> String {
    let sum = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    format!("sha256:{}", &String::from_utf8(sum).unwrap()[..64])
}

impl Registry {
    /// Serves the image of an archive as `app:1`.
    fn of(archive: &Path, directory: &Path) -> Self {
        let parts = directory.join("parts");
        std::fs::create_dir(&parts).unwrap();
        let tar = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&parts).status();
        assert!(tar.unwrap().success());
        let gzip = Command::new("gzip").arg(parts.join("layer.tar")).status();
        assert!(gzip.unwrap().success());
        let mut blobs = std::collections::HashMap::new();
        let mut add = |file: &str| {
            let path = parts.join(file);
            let (digest, bytes) = (sha256(&path), std::fs::read(&path).unwrap());
            let size = bytes.len();
            blobs.insert(digest.clone(), bytes);
            (digest, size)
        };
        let (config, layer) = (add("config.json"), add("layer.tar.gz"));
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.0, "size": config.1,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer.0, "size": layer.1,
            }],
        });
        blobs.insert("1".into(), manifest.to_string().into_bytes());
        Self(blobs)
    }

    async fn serve(self) -> u16 {
        let router = Router::new()
            .route("/v2/", get(|| async { "{}" }))
            .route("/v2/app/manifests/{name}", get(answer))
            .route("/v2/app/blobs/{name}", get(answer))
            .with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }
}

async fn answer(
    State(registry): State<Registry>,
    UrlPath(name): UrlPath<String>,
) -> impl IntoResponse {
    match registry.0.get(&name) {
        Some(bytes) => (StatusCode::OK, [(header::CONTENT_TYPE, MANIFEST)], bytes.clone()),
        None => (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain")], Vec::new()),
    }
}

#[tokio::test]
async fn images_come_from_a_registry() {
    // Proves that an image is fetched by its tag, unpacked under its digests and found again, and
    // that a tag or a registry that is not there is said to be missing and changes nothing.
    let directory = tempfile::tempdir().unwrap();
    let archive = busybox_archive(directory.path(), "busybox:test");
    let port = Registry::of(&archive, directory.path()).serve().await;
    let images = Images::open(&directory.path().join("images")).unwrap();
    let registries = Registries::default();
    let name: Reference = format!("127.0.0.1:{port}/app:1").parse().unwrap();
    let image = registries.pull(&images, &name).await.unwrap();
    assert_eq!(images.find(&name).unwrap(), Some(image.clone()));
    assert!(images.layers().join(&image.layers[0]).join("bin/busybox").is_file());
    assert_eq!(image.defaults.cmd, ["sh"]);
    let dead = testkit::free_port();
    for wrong in [format!("127.0.0.1:{port}/app:2"), format!("127.0.0.1:{dead}/app:1")] {
        let wrong: Reference = wrong.parse().unwrap();
        let error = registries.pull(&images, &wrong).await.unwrap_err();
        assert_eq!(error.kind, Kind::NoSuchImage, "{error}");
        assert!(error.message.contains(&wrong.to_string()), "{error}");
        assert_eq!(images.find(&wrong).unwrap(), None);
    }
}
