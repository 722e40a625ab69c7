//! The cluster's certificate authority, made on the first start, and the certificates that it signs
//! for the manager, the registry and the nodes.

mod credential;
mod csr;

pub use credential::CredentialKey;
pub use csr::Csr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The authority outlives the cluster: nothing renews it.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Below the 398 days that browsers and Apple's libraries allow.
const SERVER_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// The registry gets its certificate when its container is made, which may run for years.
const LONG_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// A machine's agent renews its certificate when a third of this is left, or later if the manager
/// was away. A returned machine can read images until it expires.
pub(crate) const MACHINE_LIFE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Common name of people's certificates for the registry. No machine is named so.
pub(crate) const PERSON: &str = "person";
/// A working day: a certificate for the registry is not revoked before.
pub(crate) const PERSON_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Remaining validity at which the manager renews a certificate that it stores.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A certificate and its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub certificate: String,
    /// Private key. Secret.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Failure to provide a certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file is unreadable or unwritable.
    #[error("cannot {action} `{path}`: {cause}")]
    File {
        /// `read`, `write` or `make`.
        action: &'static str,
        path: PathBuf,
        cause: std::io::Error,
    },
    /// The authority's file was changed and is unusable. It is not replaced, because machines trust
    /// the former one.
    #[error(
        "the certificate authority in `{0}` is damaged; put its copy back, or delete it and rent all machines anew"
    )]
    Damaged(PathBuf),
    /// A name is invalid in a certificate, or the library failed.
    #[error("cannot make a certificate for {names}: {cause}")]
    Certificate { names: String, cause: rcgen::Error },
}

/// Purpose of a stored certificate. Any change of it causes a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Purpose {
    server: bool,
    /// True if it is not renewed while it is in use.
    lasting: bool,
    names: Vec<String>,
}

/// A stored certificate. It is in one file with its key, so that both exist or none.
#[derive(Serialize, Deserialize)]
struct Kept {
    purpose: Purpose,
    /// Seconds since the Unix epoch.
    expires: u64,
    authority: String,
    identity: Identity,
}

/// The certificate authority and its folder.
pub struct Pki {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Opens the authority in this folder, and makes both on the first start.
    ///
    /// # Errors
    /// If files cannot be read or written, or the authority is damaged.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| PkiError::File {
                action: "make",
                path: folder.to_owned(),
                cause,
            })?;
        let path = folder.join("ca.json");
        let authority = match read::<Identity>(&path)? {
            Found::Whole(authority) => authority,
            Found::Damaged => return Err(PkiError::Damaged(path)),
            Found::Nothing => {
                let made = make_authority()?;
                write(&path, &made)?;
                made
            }
        };
        let damaged = |_| PkiError::Damaged(path.clone());
        let key = KeyPair::from_pem(&authority.key).map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key).map_err(damaged)?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate: authority.certificate,
            issuer,
        })
    }

    /// The authority of the registry's writers, kept beside this one. It signs the manager's own
    /// certificate only, so no machine can show one.
    ///
    /// # Errors
    /// As [`Pki::open`].
    pub fn writers(&self) -> Result<Self, PkiError> {
        Self::open(&self.folder.join("writers"))
    }

    /// The authority's certificate, PEM: clients check ours against it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.certificate
    }

    /// Returns the certificate of a server of ours, under a label of its own (`https`, `registry`).
    /// It is stored, and renewed when its host names or addresses change or it is about to expire.
    ///
    /// # Errors
    /// If a name is invalid or the file cannot be written.
    pub fn server_certificate(&self, label: &str, names: &[String]) -> Result<Identity, PkiError> {
        self.kept(
            &format!("server-{label}"),
            Purpose {
                server: true,
                lasting: false,
                names: names.to_vec(),
            },
            SystemTime::now(),
        )
    }

    /// As [`Pki::server_certificate`], for a server that only our own clients use and that keeps
    /// its first certificate, possibly for years.
    ///
    /// # Errors
    /// As [`Pki::server_certificate`].
    pub fn lasting_server_certificate(
        &self,
        label: &str,
        names: &[String],
    ) -> Result<Identity, PkiError> {
        self.kept(
            &format!("server-{label}"),
            Purpose {
                server: true,
                lasting: true,
                names: names.to_vec(),
            },
            SystemTime::now(),
        )
    }

    /// Returns the manager's own client certificate. Stored like a server's.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn own_client_certificate(&self, common_name: &str) -> Result<Identity, PkiError> {
        self.kept(
            "client",
            Purpose {
                server: false,
                lasting: true,
                names: vec![common_name.to_owned()],
            },
            SystemTime::now(),
        )
    }

    /// Makes a new client certificate for another party, such as a node. Not stored.
    ///
    /// # Errors
    /// If the name is invalid.
    pub fn client_certificate(&self, common_name: &str) -> Result<Identity, PkiError> {
        self.sign(
            &Purpose {
                server: false,
                lasting: true,
                names: vec![common_name.to_owned()],
            },
            SystemTime::now(),
        )
    }

    fn kept(&self, label: &str, purpose: Purpose, now: SystemTime) -> Result<Identity, PkiError> {
        let path = self.folder.join(format!("{label}.json"));
        if let Found::Whole(kept) = read::<Kept>(&path)?
            && kept.purpose == purpose
            && kept.authority == self.certificate
            && kept.expires > seconds(now + RENEW_BEFORE)
        {
            return Ok(kept.identity);
        }
        let identity = self.sign(&purpose, now)?;
        let expires = seconds(now + purpose.life());
        write(
            &path,
            &Kept {
                purpose,
                expires,
                authority: self.certificate.clone(),
                identity: identity.clone(),
            },
        )?;
        Ok(identity)
    }

    fn sign(&self, purpose: &Purpose, now: SystemTime) -> Result<Identity, PkiError> {
        let failed = |cause| PkiError::Certificate {
            names: purpose.names.join(", "),
            cause,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = Self::params(purpose, now)
            .and_then(|params| params.signed_by(&key, &self.issuer))
            .map_err(failed)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Content of a certificate.
    fn params(purpose: &Purpose, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
        let hosts = if purpose.server {
            purpose.names.clone()
        } else {
            Vec::new()
        };
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CommonName,
            purpose.names.first().cloned().unwrap_or_default(),
        );
        params.not_before = (now - DAY).into();
        params.not_after = (now + purpose.life()).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if purpose.server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl Purpose {
    fn life(&self) -> Duration {
        if self.lasting { LONG_LIFE } else { SERVER_LIFE }
    }
}

fn make_authority() -> Result<Identity, PkiError> {
    let failed = |cause| PkiError::Certificate {
        names: "the certificate authority".to_owned(),
        cause,
    };
    let mut params = CertificateParams::default();
    let key = KeyPair::generate().map_err(failed)?;
    let now = SystemTime::now();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "micado cluster authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - DAY).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

enum Found<T> {
    Whole(T),
    Damaged,
    Nothing,
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Found<T>, PkiError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_or(Found::Damaged, Found::Whole)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(cause) => Err(PkiError::File {
            action: "read",
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Replaces a file as a whole, readable by its owner only: after a crash it is the old one or the
/// new one, never a part of it.
fn write(path: &Path, content: &impl Serialize) -> Result<(), PkiError> {
    let failed = |cause| PkiError::File {
        action: "write",
        path: path.to_owned(),
        cause,
    };
    let bytes = serde_json::to_vec(content).map_err(|error| failed(error.into()))?;
    let new = path.with_extension("new");
    // A file left by a crash may have other permissions.
    match std::fs::remove_file(&new) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(failed(cause)),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests;
