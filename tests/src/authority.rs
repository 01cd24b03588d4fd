//! Authorities of our own, for the tests of encrypted connections.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::places::scratch;

/// Signs certificates.
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let directory = tempfile::Builder::new().prefix("authority-").tempdir_in(scratch());
        let directory = directory.expect("a directory can be made");
        let key = KeyPair::generate().expect("a key can be made");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = parameters.self_signed(&key).expect("an authority signs itself");
        let authority = Authority { directory, issuer: Issuer::new(parameters, key) };
        std::fs::write(authority.file(), own.pem()).expect("a file can be written");
        authority
    }

    /// Its certificate, for those that are to trust it.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A certificate for a server at this address, and its key.
    pub fn sign(&self, address: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key can be made");
        let parameters = CertificateParams::new([address.to_owned()]).expect("it is an address");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("an authority signs");
        (certificate.pem(), key.serialize_pem())
    }
}
