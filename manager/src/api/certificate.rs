//! Client certificates: their check, which lets an expired one in to be renewed, and what they say.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{sync::Arc, time::Duration};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Time for which an expired certificate can still be renewed: for so long the manager may be away.
const LATE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Check of clients' certificates that lets expired ones in; [`Peer`](super::peer::Peer) tells them
/// apart.
#[derive(Debug)]
pub(super) struct LateToo(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for LateToo {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let error = match self.0.verify_client_cert(own, others, now) {
            Err(error) if is_expired(&error) => error,
            outcome => return outcome,
        };
        match end(own) {
            Some(end) if now.as_secs().saturating_sub(end) <= LATE.as_secs() => {
                // As it was at its last moment.
                let then = UnixTime::since_unix_epoch(Duration::from_secs(end));
                self.0.verify_client_cert(own, others, then)
            }
            _ => Err(error),
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn is_expired(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        )
    )
}

/// Last moment of a certificate, in seconds since the Unix epoch.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// Name of the certificate's subject.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    certificate
        .subject()
        .iter_common_name()
        .next()?
        .as_str()
        .ok()
        .map(Arc::from)
}
