//! This machine's identity and its trusted authority: the files in /etc/micado left by the boot
//! script.

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// An unreadable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is absent: the boot script has not finished.
    #[error("cannot read `{path}`: {cause}: has this machine joined?")]
    File { path: PathBuf, cause: io::Error },
    /// A file has wrong content.
    #[error("`{path}` is damaged: {cause}: delete it and run the boot script again")]
    Damaged { path: PathBuf, cause: String },
}

/// The manager's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// This machine's identity and its trusted authority.
#[derive(Clone)]
pub struct Identity {
    pub manager: Address,
    /// Name that the manager's certificate must be valid for.
    pub name: ServerName<'static>,
    /// TLS with our certificate, trusting the cluster's authority alone.
    pub tls: Arc<ClientConfig>,
    /// Validity of our certificate.
    pub life: Life,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("manager", &self.manager)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// Validity of a certificate, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub begin: i64,
    pub end: i64,
}

impl Life {
    /// Time at which a third of the validity is left.
    #[must_use]
    pub fn renewal(self) -> i64 {
        self.end - (self.end - self.begin) / 3
    }
}

/// The files below /etc/micado.
#[derive(Debug, Clone)]
pub struct Files {
    pub folder: PathBuf,
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// If one is missing or damaged.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        self.identity_with(&self.certificate()?)
    }

    /// As [`Files::identity`], with this certificate (PEM) instead of the stored one.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the certificate is not for our key.
    pub fn identity_with(&self, certificate: &str) -> Result<Identity, IdentityError> {
        let (manager, name) = self.manager()?;
        let damaged = |file: &str, cause: String| IdentityError::Damaged {
            path: self.folder.join(file),
            cause,
        };
        let mut trusted = RootCertStore::empty();
        for authority in chain(&self.read("ca.crt")?).map_err(|cause| damaged("ca.crt", cause))? {
            trusted
                .add(authority)
                .map_err(|error| damaged("ca.crt", error.to_string()))?;
        }
        let chain = chain(certificate).map_err(|cause| damaged("node.crt", cause))?;
        let life = life(&chain).map_err(|cause| damaged("node.crt", cause))?;
        let key = PrivateKeyDer::from_pem_slice(self.key()?.as_bytes())
            .map_err(|error| damaged("node.key", error.to_string()))?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| damaged("ca.crt", error.to_string()))?
                .with_root_certificates(trusted)
                .with_client_auth_cert(chain, key)
                .map_err(|error| damaged("node.crt", error.to_string()))?;
        Ok(Identity {
            manager,
            name,
            tls: Arc::new(config),
            life,
        })
    }

    /// Our certificate, PEM.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn certificate(&self) -> Result<String, IdentityError> {
        self.read("node.crt")
    }

    /// Our private key, PEM. Secret.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn key(&self) -> Result<String, IdentityError> {
        self.read("node.key")
    }

    /// Host and port of the URL `https://HOST:PORT/v1/join`.
    fn manager(&self) -> Result<(Address, ServerName<'static>), IdentityError> {
        let text = self.read("manager")?;
        let bad = || IdentityError::Damaged {
            path: self.folder.join("manager"),
            cause: format!("`{}` is not https://HOST:PORT/v1/join", text.trim()),
        };
        let url: hyper::Uri = text.trim().parse().map_err(|_| bad())?;
        let host = url
            .host()
            .ok_or_else(bad)?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
        Ok((
            Address {
                host,
                port: url.port_u16().unwrap_or(443),
            },
            name,
        ))
    }

    fn read(&self, name: &str) -> Result<String, IdentityError> {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path).map_err(|cause| IdentityError::File { path, cause })
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        Err("it holds no certificate".to_owned())
    } else {
        Ok(chain)
    }
}

fn life(chain: &[CertificateDer<'_>]) -> Result<Life, String> {
    let (_, certificate) =
        X509Certificate::from_der(&chain[0]).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    Ok(Life {
        begin: validity.not_before.timestamp(),
        end: validity.not_after.timestamp(),
    })
}

/// Replaces a file as a whole, readable by its owner only: after a crash it is the old one or the
/// new one.
///
/// # Errors
/// The system's error.
pub fn replace(path: &Path, content: &str) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
