//! What a client of the registry needs: certificates for the engine, where it looks for them, and
//! for our own questions.

use crate::{engine::EngineError, pki::Identity};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

/// Whom to trust and what to show.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) authority: String,
    pub(super) client: Identity,
}

impl Credentials {
    /// By the names that engines look for.
    pub(super) fn files(&self) -> [(&'static str, &str); 3] {
        [
            ("ca.crt", &self.authority),
            ("client.cert", &self.client.certificate),
            ("client.key", &self.client.key),
        ]
    }
}

/// Puts the certificates for a registry where the engine looks for them; it reads them at its next
/// request. The folder must be the engine's own.
pub(super) fn install(
    certs_dir: &Path,
    host: &str,
    credentials: &Credentials,
) -> Result<(), EngineError> {
    let folder = certs_dir.join(host);
    std::fs::create_dir_all(&folder).map_err(|error| refused("make", &folder, &error))?;
    for (name, content) in credentials.files() {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|present| present == content.as_bytes()) {
            continue;
        }
        replace(&path, content).map_err(|error| refused("write", &path, &error))?;
    }
    Ok(())
}

fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    // Hidden, and with an ending that engines take for no certificate.
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let new = path.with_file_name(format!(".{name}.new"));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn refused(action: &str, path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::Refused(format!(
        "cannot {action} `{}`, where engines look for certificates: {error}; run this as root or name another folder",
        path.display()
    ))
}

/// A client that trusts only this authority and shows this certificate.
pub(super) fn client(credentials: &Credentials) -> Result<reqwest::Client, EngineError> {
    let unusable = |what: &str, error: &dyn std::fmt::Display| {
        EngineError::Refused(format!("the registry's {what} is unusable: {error}"))
    };
    let authority = CertificateDer::from_pem_slice(credentials.authority.as_bytes())
        .map_err(|error| unusable("authority certificate", &error))?;
    let certificate = CertificateDer::from_pem_slice(credentials.client.certificate.as_bytes())
        .map_err(|error| unusable("client certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(credentials.client.key.as_bytes())
        .map_err(|error| unusable("client key", &error))?;
    let mut roots = RootCertStore::empty();
    roots
        .add(authority)
        .map_err(|error| unusable("authority certificate", &error))?;
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|tls| {
            tls.with_root_certificates(roots)
                .with_client_auth_cert(vec![certificate], key)
        })
        .map_err(|error| unusable("client certificate", &error))?;
    // The registry is on the cluster's own network: no proxy leads there.
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .map_err(|error| unusable("client certificate", &error))
}
