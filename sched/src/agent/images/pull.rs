//! Images from registries.

use super::{Error, Images, Reference, Result, Unpacked};

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
    /// The registry cannot be reached, or has no such image.
    pub async fn pull(&self, _images: &Images, reference: &Reference) -> Result<Unpacked> {
        Err(Error::no_image(format!("{reference}: import it with `berth image import FILE`")))
    }
}
