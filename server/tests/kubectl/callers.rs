//! Who calls: an authority, certificates and tokens of the test's own.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

/// How the API is served, and who kubectl is by default. Nothing: plain, as everybody's master.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    /// The server's flags.
    pub(crate) flags: Vec<String>,
    /// kubectl's.
    pub(crate) caller: Vec<String>,
}

/// Whoever signs certificates.
pub(crate) struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    /// Its files are in a directory of its name below `directory`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = directory.join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub(crate) fn file(&self) -> String {
        self.directory.join("ca.pem").display().to_string()
    }

    /// A certificate for 127.0.0.1 in somebody's name, with the groups they are in.
    pub(crate) fn sign(&self, name: &str, groups: &[&str]) -> Pair {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        // rcgen keeps one entry of a type: the second organisation goes by its number.
        let organisations = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        assert!(groups.len() <= organisations.len());
        for (group, organisation) in groups.iter().zip(organisations) {
            params.distinguished_name.push(organisation, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let file = |end: &str| self.directory.join(format!("{name}.{end}")).display().to_string();
        let pair = Pair { cert: file("pem"), key: file("key") };
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        std::fs::write(&pair.cert, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        pair
    }
}

impl Pair {
    /// How curl shows it.
    pub(crate) fn for_curl(&self) -> Vec<String> {
        ["--cert", &self.cert, "--key", &self.key].map(str::to_owned).to_vec()
    }

    /// How kubectl shows it.
    pub(crate) fn for_kubectl(&self) -> Vec<String> {
        vec![format!("--client-certificate={}", self.cert), format!("--client-key={}", self.key)]
    }
}
