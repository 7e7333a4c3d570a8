//! Images from registries that speak the OCI distribution API.

use std::path::PathBuf;
use std::time::Duration;

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use tokio_rustls::rustls::crypto::ring;

use super::import::read_config;
use super::{Error, Images, Reference, Result, Unpacked, layer, while_doing};
use crate::agent::clock;

const CONNECTS_MAX: Duration = Duration::from_secs(10);
/// Between two parts of what is sent.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Registries on this machine speak plain HTTP.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Which registries are asked, and how.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// Those that speak plain HTTP, beside those on this machine.
    pub insecure: Vec<String>,
}

impl Registries {
    /// Fetches and unpacks an image.
    ///
    /// # Errors
    /// The registry cannot be reached, or has no such image for this machine; what it sends is not
    /// what its digests say.
    pub async fn pull(&self, images: &Images, reference: &Reference) -> Result<Unpacked> {
        let missing =
            |error: &dyn std::fmt::Display| Error::no_image(format!("{reference}: {error}"));
        let name: oci_client::Reference =
            reference.to_string().parse().map_err(|error| missing(&error))?;
        let client = self.client(reference)?;
        let auth = RegistryAuth::Anonymous;
        let (manifest, _, config) = client
            .pull_manifest_and_config(&name, &auth)
            .await
            .map_err(|error| missing(&root(&error)))?;
        let (config, id) = read_config(config.as_bytes())?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(missing(&"its configuration and its manifest name different layers"));
        }
        let unpacking = locked(images.clone()).await?;
        let incoming = images.incoming()?;
        let mut layers = Vec::new();
        for (number, (blob, diff_id)) in
            manifest.layers.iter().zip(&config.rootfs.diff_ids).enumerate()
        {
            let path = incoming.path().join(number.to_string());
            let file = tokio::fs::File::create(&path).await;
            let file = file.map_err(while_doing("making room for a layer"))?;
            let pulled = client.pull_blob(&name, blob, file).await;
            pulled.map_err(|error| missing(&root(&error)))?;
            layers.push(unpack(images.clone(), path, diff_id.clone()).await?);
        }
        let pulled_at = Some(clock::now());
        let image = Unpacked { id, layers, defaults: config.config, pulled_at };
        images.add(vec![(reference.clone(), image.clone())])?;
        drop(unpacking);
        Ok(image)
    }

    fn client(&self, reference: &Reference) -> Result<Client> {
        // Whoever was first has chosen.
        let _ = ring::default_provider().install_default();
        let host =
            reference.registry.rsplit_once(':').map_or(&*reference.registry, |(host, _)| host);
        let is_plain = OWN.contains(&host) || self.insecure.contains(&reference.registry);
        let config = ClientConfig {
            protocol: if is_plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECTS_MAX),
            read_timeout: Some(SILENT_MAX),
            ..ClientConfig::default()
        };
        Client::try_from(config).map_err(while_doing("setting up a client of registries"))
    }
}

/// Keeps layers from being removed until it is dropped.
async fn locked(images: Images) -> Result<std::fs::File> {
    let locking = tokio::task::spawn_blocking(move || {
        let unpacking = images.unpacking()?;
        unpacking.lock_shared().map_err(while_doing("locking the layers"))?;
        Ok(unpacking)
    });
    locking.await.map_err(while_doing("locking the layers"))?
}

async fn unpack(images: Images, path: PathBuf, diff_id: String) -> Result<String> {
    let unpacking = tokio::task::spawn_blocking(move || {
        let content = layer::decompressed(&path).map_err(while_doing("reading a layer"))?;
        layer::unpack(&images, content, &diff_id)
    });
    unpacking.await.map_err(while_doing("unpacking a layer"))?
}

/// The innermost cause too: "connection refused" says more than that a request failed.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let (outer, inner) = (error.to_string(), cause.to_string());
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}
