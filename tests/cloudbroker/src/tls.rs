//! The certificate for HTTPS: from files, or made with an authority of its own.

use crate::{SimulatorError, config::Certificate};
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The server's configuration, and the file of the authority that clients must trust if it was made
/// here.
pub(crate) fn server(
    certificate: &Certificate,
    address: IpAddr,
) -> Result<(RustlsConfig, Option<PathBuf>), SimulatorError> {
    match certificate {
        Certificate::Files { certificate, key } => {
            Ok((config(&read(certificate)?, &read(key)?)?, None))
        }
        Certificate::Made { folder, names } => {
            let (chain, key) = made(folder, names, address)?;
            Ok((
                config(chain.as_bytes(), key.as_bytes())?,
                Some(folder.join("ca.crt")),
            ))
        }
    }
}

fn config(chain: &[u8], key: &[u8]) -> Result<RustlsConfig, SimulatorError> {
    let bad = |error: &dyn std::fmt::Display| SimulatorError::Certificate(error.to_string());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(&error))?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| bad(&error))?;
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// The pair in the folder, made on the first start, so that clients keep trusting it.
fn made(
    folder: &Path,
    names: &[String],
    address: IpAddr,
) -> Result<(String, String), SimulatorError> {
    let [certificate, key] = ["server.crt", "server.key"].map(|name| folder.join(name));
    if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&certificate), fs::read_to_string(&key))
    {
        return Ok((certificate, key));
    }
    let bad = |error: rcgen::Error| SimulatorError::Certificate(error.to_string());
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "CloudBroker simulator");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().map_err(bad)?;
    let authority = params.self_signed(&authority_key).map_err(bad)?.pem();
    let issuer = rcgen::Issuer::new(params, authority_key);

    let known = ["localhost".to_owned(), address.to_string()];
    let mut params = CertificateParams::new(known.iter().chain(names).cloned().collect::<Vec<_>>())
        .map_err(bad)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "cloudbroker");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().map_err(bad)?;
    let server = params.signed_by(&server_key, &issuer).map_err(bad)?.pem();
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join("ca.crt"), authority))
        .and_then(|()| {
            fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&key)
        })
        .and_then(|mut file| file.write_all(server_key.serialize_pem().as_bytes()))
        .and_then(|()| fs::write(&certificate, &server));
    written.map_err(|cause| SimulatorError::File {
        path: folder.to_owned(),
        cause,
    })?;
    Ok((server, server_key.serialize_pem()))
}

fn read(path: &Path) -> Result<Vec<u8>, SimulatorError> {
    fs::read(path).map_err(|cause| SimulatorError::File {
        path: path.to_owned(),
        cause,
    })
}
