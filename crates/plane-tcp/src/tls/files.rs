//! Reads PEM files, and tells when they have changed.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use plane_core::{Delivery, Error, ErrorKind};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsIdentity;

/// Which setting a file belongs to, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Certificate,
    Key,
    Roots,
    ClientRoots,
}

impl Role {
    fn variable(self) -> &'static str {
        match self {
            Self::Certificate => "DYN_TCP_TLS_CERT",
            Self::Key => "DYN_TCP_TLS_KEY",
            Self::Roots => "DYN_TCP_TLS_CA",
            Self::ClientRoots => "DYN_TCP_TLS_CLIENT_CA",
        }
    }
}

fn unusable(role: Role, file: &Path, problem: impl Display) -> Error {
    let what = format!("{}: {} {problem}", role.variable(), file.display());
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what)
}

fn read(role: Role, file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| unusable(role, file, format!("cannot be read: {error}")).with_source(error))
}

fn certificates(role: Role, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(role, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(role, file, format!("is not PEM: {error}")).with_source(error))?;
    if found.is_empty() {
        return Err(unusable(role, file, "has no certificate in it"));
    }
    Ok(found)
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(Role::Key, file)?).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => "has no private key in it".to_owned(),
            error => format!("is not PEM: {error}"),
        };
        unusable(Role::Key, file, problem)
    })
}

/// A certificate with its key, which must belong to it.
pub(super) fn identity(identity: &TlsIdentity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let TlsIdentity { certificate, key: key_file } = identity;
    let chain = certificates(Role::Certificate, certificate)?;
    let certified = CertifiedKey::from_der(chain, key(key_file)?, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let problem = format!("does not belong to the certificate in {} (DYN_TCP_TLS_CERT)", certificate.display());
            unusable(Role::Key, key_file, problem)
        }
        rustls::Error::InvalidCertificate(_) => unusable(Role::Certificate, certificate, "is no usable certificate"),
        error => unusable(Role::Key, key_file, format!("is no usable key: {error}")),
    });
    certified.map(Arc::new)
}

/// The roots in a file. One that is no certificate for a root makes all of it unusable: somebody meant it to count.
pub(super) fn roots(role: Role, file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(role, file)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(role, file, format!("has a certificate that cannot be a root: {error}")))?;
    }
    Ok(roots)
}

/// What tells one state of a file from another without reading it; `None` if it cannot be looked at.
pub(super) type Stamp = Option<(u64, u64, u64, SystemTime)>;

pub(super) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.modified().ok()?))
}
