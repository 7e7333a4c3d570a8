//! Values that only some can read: sealed to age recipients (X25519), as text in age's armor.
//!
//! The store sees ciphertext alone. Who may read is decided when sealing; any age tool can unseal.

use std::io::{Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::x25519;

/// How a sealed value begins.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// A new identity: what is to be kept secret, and the recipient that others seal to.
pub fn generate() -> (String, String) {
    let identity = x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

/// Whether a value is sealed.
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(ARMOR)
}

/// Seals a value so that the holder of any one of `recipients` (`age1...`) can read it.
///
/// # Errors
/// One line: what is not a recipient, or that there is none.
pub fn seal(value: &[u8], recipients: &[String]) -> Result<Vec<u8>, String> {
    let parsed: Vec<x25519::Recipient> = recipients
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|reason| format!("{text:?} is not a recipient (age1...): {reason}"))
        })
        .collect::<Result<_, _>>()?;
    let recipients = parsed.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor =
        age::Encryptor::with_recipients(recipients).map_err(|error| error.to_string())?;
    let fail = |error: std::io::Error| format!("cannot seal: {error}");
    let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(fail)?;
    let mut writer = encryptor.wrap_output(armor).map_err(fail)?;
    writer.write_all(value).map_err(fail)?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(fail)
}

/// The identities of one file, as `age-keygen` writes it.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Identities {
    /// # Errors
    /// One line that names the file, and what is wrong with it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let at = |reason: String| format!("{}: {reason}", file.display());
        let bytes = std::fs::read(file).map_err(|error| at(error.to_string()))?;
        let identities = age::IdentityFile::from_buffer(bytes.as_slice())
            .map_err(|error| at(format!("it holds no identity (AGE-SECRET-KEY-1...): {error}")))?;
        identities.into_identities().map(Self).map_err(|error| at(error.to_string()))
    }

    /// What was sealed.
    ///
    /// # Errors
    /// It was not sealed to any of these, or is damaged.
    pub fn unseal(&self, value: &[u8]) -> Result<Vec<u8>, String> {
        let decryptor =
            age::Decryptor::new(ArmoredReader::new(value)).map_err(|error| error.to_string())?;
        let identities = self.0.iter().map(|identity| identity.as_ref() as &dyn age::Identity);
        let mut reader = decryptor.decrypt(identities).map_err(|error| error.to_string())?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recipients_can_read() {
        // Proves both ways for two recipients, that a third cannot, and that a changed text is
        // refused.
        let (one, two, three) = (generate(), generate(), generate());
        let sealed = seal(b"secret\0", &[one.1.clone(), two.1]).unwrap();
        assert!(is_sealed(&sealed) && !is_sealed(b"secret"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let unseal = |secret: &str, sealed: &[u8]| {
            std::fs::write(file.path(), format!("# created by hand\n{secret}\n")).unwrap();
            Identities::read(file.path()).unwrap().unseal(sealed)
        };
        assert_eq!(unseal(&one.0, &sealed), Ok(b"secret\0".to_vec()));
        assert_eq!(unseal(&two.0, &sealed), Ok(b"secret\0".to_vec()));
        assert!(unseal(&three.0, &sealed).is_err());
        let mut changed = sealed.clone();
        let middle = changed.len() / 2;
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        assert!(unseal(&one.0, &changed).is_err());
        assert!(seal(b"x", &["age1nobody".to_owned()]).unwrap_err().contains("age1nobody"));
        assert!(seal(b"x", &[]).is_err());
        assert!(Identities::read(Path::new("/no/such")).is_err());
        std::fs::write(file.path(), "nonsense").unwrap();
        assert!(Identities::read(file.path()).is_err());
    }
}
