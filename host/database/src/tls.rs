//! How the connection to the database is encrypted, and whom it trusts.
//!
//! `sslmode` and `sslrootcert` in the URL say so, as they do elsewhere. Where the connection is encrypted, the server is
//! always the one of the name in the URL: `require` is as much as `verify-full`, and there is no `verify-ca`, which is less.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::DatabaseError;

/// A URL without what the library doesn't know, and the file of the authorities that are trusted, if it names one.
pub(super) fn read(url: &str) -> Result<(String, Option<PathBuf>), DatabaseError> {
    let Some((address, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (mut kept, mut authorities) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "verify-full")) => kept.push("sslmode=require"),
            Some(("sslmode", "verify-ca")) => {
                let what = "sslmode can't be verify-ca: verify-full looks at the server's name as well";
                return Err(DatabaseError::Url(what.into()));
            }
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) => {
                let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
                authorities = Some(PathBuf::from(path.as_ref()));
            }
            _ => kept.push(pair),
        }
    }
    // Whoever says whom to trust wants to know whom he talks to.
    if authorities.is_some() && !kept.iter().any(|pair| pair.starts_with("sslmode=")) {
        kept.push("sslmode=require");
    }
    Ok((format!("{address}?{}", kept.join("&")), authorities))
}

/// To trust the authorities in a file, or those that this machine trusts.
pub(super) fn config(authorities: Option<&Path>) -> Result<ClientConfig, DatabaseError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let wrong = |why: &dyn std::fmt::Display| {
                DatabaseError::Url(format!("sslrootcert {} can't be used: {why}", path.display()))
            };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"it has no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Why the server's certificate wasn't accepted, if that is what an error is about.
pub(super) fn refusal(error: &dyn Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| error.downcast_ref());
        match tls {
            // An authority of the same name that isn't the same has another signature.
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => {
                let what =
                    "its certificate isn't of an authority that is trusted here; sslrootcert=FILE names one that is";
                return Some(what.to_owned());
            }
            Some(rustls::Error::InvalidCertificate(why)) => return Some(format!("its certificate is refused: {why}")),
            _ => cause = error.source(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_how_and_whom() {
        let plain = |url: &str| (url.to_owned(), None);
        for url in ["postgres://a@b/c", "postgres://a@b/c?sslmode=disable&connect_timeout=1", "host=b dbname=c"] {
            assert_eq!(read(url).unwrap(), plain(url));
        }
        let (url, authorities) =
            read("postgres://a@b/c?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem&options=x").unwrap();
        assert_eq!(url, "postgres://a@b/c?sslmode=require&options=x");
        assert_eq!(authorities, Some("/etc/my ca.pem".into()));
        assert_eq!(read("postgres://b/c?sslrootcert=ca.pem").unwrap().0, "postgres://b/c?sslmode=require");
        assert_eq!(
            read("postgres://b/c?sslmode=verify-full&sslrootcert=system").unwrap(),
            plain("postgres://b/c?sslmode=require")
        );
        assert!(read("postgres://b/c?sslmode=verify-ca").is_err());
    }
}
