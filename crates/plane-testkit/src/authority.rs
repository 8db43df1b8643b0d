//! Certificates, of an authority of a test's own ([`Authority`]).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// One that signs certificates, with its files in a directory of its own that goes with it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
    signed: AtomicU64,
}

/// The PEM files of a certificate and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Puts these in the place of other files, each at one stroke.
    ///
    /// # Panics
    /// If they cannot be copied.
    pub fn replace(&self, other: &Self) {
        replace(&self.certificate, &other.certificate);
        replace(&self.key, &other.key);
    }
}

fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).expect("a file that can be read, beside one that can be written");
    std::fs::rename(&beside, to).expect("both are in one directory");
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority, which nobody trusts yet.
    ///
    /// # Panics
    /// Without a directory for its files.
    #[must_use]
    pub fn new() -> Self {
        Self::of(|params, key| params.self_signed(key))
    }

    /// An authority that this one vouches for. Its own file is no root, but what stands between one and the rest.
    ///
    /// # Panics
    /// Without a directory for its files.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        Self::of(|params, key| params.signed_by(key, &self.issuer))
    }

    fn of(sign: impl FnOnce(&CertificateParams, &KeyPair) -> Result<Certificate, rcgen::Error>) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // Authorities of one name would be taken for one another.
        params.distinguished_name.push(DnType::CommonName, format!("authority {:016x}", fastrand::u64(..)));
        let directory = tempfile::tempdir().expect("a directory for certificates");
        let own = sign(&params, &key).expect("parameters that can be signed").pem();
        std::fs::write(directory.path().join("ca.pem"), own).expect("a file");
        Self { issuer: Issuer::new(params, key), directory, signed: AtomicU64::new(0) }
    }

    /// The PEM file of its own certificate, for those who trust it.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file in its directory; nothing is made.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for this DNS name or address, valid now and for any use.
    pub fn sign(&self, name: &str) -> CertificateFiles {
        self.sign_with(name, |_| {})
    }

    /// The same, changed before it is signed.
    ///
    /// # Panics
    /// For a name that no certificate can have.
    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateFiles {
        let (params, key) = unsigned(name, change);
        let certificate = params.signed_by(&key, &self.issuer).expect("parameters that can be signed").pem();
        self.write(name, &certificate, &key)
    }

    /// A certificate that expired years ago, on 2020-02-29.
    pub fn sign_expired(&self, name: &str) -> CertificateFiles {
        self.sign_with(name, |params| params.not_after = rcgen::date_time_ymd(2020, 2, 29))
    }

    /// A certificate that only its own key has signed, in this authority's directory.
    ///
    /// # Panics
    /// For a name that no certificate can have.
    pub fn self_signed(&self, name: &str) -> CertificateFiles {
        let (params, key) = unsigned(name, |_| {});
        let certificate = params.self_signed(&key).expect("parameters that can be signed").pem();
        self.write(name, &certificate, &key)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> CertificateFiles {
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.path(&format!("{}-{number}.{kind}", name.replace([':', '/'], "_")));
        let files = CertificateFiles { certificate: file("pem"), key: file("key") };
        std::fs::write(&files.certificate, certificate).expect("a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("a file");
        files
    }
}

fn unsigned(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name or an address");
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    (params, KeyPair::generate().expect("a key"))
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory.path()).finish_non_exhaustive()
    }
}
