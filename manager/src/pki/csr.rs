//! Certificate requests that machines make with keys of their own, which never leave them.

use super::{Pki, PkiError, Purpose};
use rcgen::{CertificateSigningRequestParams, PublicKeyData};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// A request with a valid signature, which proves possession of the key.
#[derive(Debug)]
pub struct Csr(CertificateSigningRequestParams);

impl Csr {
    /// Reads a request (PKCS#10, PEM) and checks its signature.
    ///
    /// # Errors
    /// The fault, as text.
    pub fn parse(pem: &str) -> Result<Self, String> {
        CertificateSigningRequestParams::from_pem(pem)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Identity of its key: the SHA-256 of the public key, in hexadecimal digits.
    #[must_use]
    pub fn key_hash(&self) -> String {
        Sha256::digest(self.0.public_key.subject_public_key_info())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Pki {
    /// Signs a client certificate for the key of a request, for this long and with this name whatever
    /// the request says. PEM.
    ///
    /// # Errors
    /// If the name is invalid.
    pub fn sign_request(
        &self,
        request: &Csr,
        common_name: &str,
        life: Duration,
    ) -> Result<String, PkiError> {
        let purpose = Purpose {
            server: false,
            lasting: true,
            names: vec![common_name.to_owned()],
        };
        let now = SystemTime::now();
        let signed = Self::params(&purpose, now).and_then(|mut params| {
            params.not_after = (now + life).into();
            params.signed_by(&request.0.public_key, &self.issuer)
        });
        signed
            .map(|certificate| certificate.pem())
            .map_err(|cause| PkiError::Certificate {
                names: common_name.to_owned(),
                cause,
            })
    }
}
