//! A certificate authority for the tests, and the files that the boot script leaves on a machine.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Validity of a certificate: seconds before and after now.
#[derive(Clone, Copy)]
pub struct Span(pub Duration, pub Duration);

impl Span {
    pub const LONG: Self = Self(DAY, DAY);

    fn set(self, params: &mut CertificateParams) {
        params.not_before = (SystemTime::now() - self.0).into();
        params.not_after = (SystemTime::now() + self.1).into();
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's certificate and key, PEM. The agents of these tests connect to 127.0.0.1.
    pub fn server(&self, name: &str, span: Span) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        span.set(&mut params);
        (
            params
                .signed_by(&key, &self.issuer)
                .expect("a certificate")
                .pem(),
            key.serialize_pem(),
        )
    }

    /// A client's certificate and key, PEM.
    pub fn client(&self, span: Span) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        client_params(&mut params, span);
        (
            params
                .signed_by(&key, &self.issuer)
                .expect("a certificate")
                .pem(),
            key.serialize_pem(),
        )
    }

    /// The reply to a renewal.
    pub fn renew(&self, csr: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).expect("a request");
        client_params(&mut request.params, Span::LONG);
        request
            .signed_by(&self.issuer)
            .expect("a certificate")
            .pem()
    }
}

fn client_params(params: &mut CertificateParams, span: Span) {
    params.distinguished_name.push(DnType::CommonName, "i1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    span.set(params);
}

/// Writes the files of /etc/micado.
pub fn lay_out(etc: &Path, trusted: &Authority, own: &(String, String), port: u16) {
    for (name, text) in [
        ("manager", format!("https://127.0.0.1:{port}/v1/join\n")),
        ("ca.crt", trusted.certificate.clone()),
        ("node.crt", own.0.clone()),
        ("node.key", own.1.clone()),
    ] {
        std::fs::write(etc.join(name), text).expect("written");
    }
}
