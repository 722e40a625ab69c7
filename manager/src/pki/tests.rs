//! Storage, repair and refusal of the authority, and its certificates in real TLS handshakes.

use super::*;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{os::unix::fs::PermissionsExt, sync::Arc};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

fn roots(pki: &Pki) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(pki.authority())).expect("an authority");
    Arc::new(roots)
}

fn server_passes(pki: &Pki, identity: &Identity, name: &str) -> bool {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(pki), Arc::new(ring::default_provider()))
            .build()
            .expect("a verifier");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier
        .verify_server_cert(
            &der(&identity.certificate),
            &[],
            &name,
            &[],
            UnixTime::now(),
        )
        .is_ok()
}

fn client_passes(pki: &Pki, identity: &Identity) -> bool {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(pki), Arc::new(ring::default_provider()))
            .build()
            .expect("a verifier");
    verifier
        .verify_client_cert(&der(&identity.certificate), &[], UnixTime::now())
        .is_ok()
}

#[test]
fn certificates_are_good_for_what_they_are_for_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(folder.path()).expect("an authority");
    let server = pki
        .server_certificate("registry", &names(&["micado-registry", "127.0.0.1"]))
        .expect("a certificate");
    assert!(
        server_passes(&pki, &server, "micado-registry")
            && server_passes(&pki, &server, "127.0.0.1")
    );
    assert!(!server_passes(&pki, &server, "elsewhere") && !client_passes(&pki, &server));
    let client = pki.client_certificate("i1").expect("a certificate");
    assert!(client_passes(&pki, &client) && !server_passes(&pki, &client, "i1"));
    let stranger = Pki::open(&folder.path().join("other")).expect("an authority");
    assert!(!client_passes(&stranger, &client));
}

#[test]
fn what_is_kept_stays_until_names_or_time_change_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(folder.path()).expect("an authority");
    let first = pki
        .server_certificate("https", &names(&["a"]))
        .expect("a certificate");
    let again = Pki::open(folder.path()).expect("the same authority");
    assert_eq!(pki.authority(), again.authority());
    assert_eq!(
        again
            .server_certificate("https", &names(&["a"]))
            .expect("kept"),
        first
    );
    let soon = SystemTime::now() + SERVER_LIFE - RENEW_BEFORE + DAY;
    let purpose = Purpose {
        server: true,
        lasting: false,
        names: names(&["a"]),
    };
    assert_ne!(
        again
            .kept("server-https", purpose.clone(), soon)
            .expect("renewed"),
        first
    );
    let lasting = again
        .lasting_server_certificate("registry", &names(&["a"]))
        .expect("a certificate");
    assert_eq!(
        again
            .kept(
                "server-registry",
                Purpose {
                    lasting: true,
                    ..purpose
                },
                soon
            )
            .expect("kept"),
        lasting
    );
    assert!(server_passes(&again, &lasting, "a"));
    let second = again
        .server_certificate("https", &names(&["a", "b"]))
        .expect("made anew");
    assert_ne!(second, first);
    assert!(server_passes(&again, &second, "b"));
}

#[test]
fn secrets_are_the_owners_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(&folder.path().join("pki")).expect("an authority");
    pki.own_client_certificate("manager")
        .expect("a certificate");
    for file in ["ca.json", "client.json"] {
        let mode = std::fs::metadata(folder.path().join("pki").join(file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mode = std::fs::metadata(folder.path().join("pki"))
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(
        format!("{:?}", pki.client_certificate("x").expect("a certificate")),
        "Identity { .. }"
    );
}

#[test]
fn half_made_state_is_made_anew_and_a_damaged_authority_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.new"), "{\"certif").expect("what a crash leaves");
    let pki = Pki::open(folder.path()).expect("an authority");
    std::fs::write(folder.path().join("client.json"), "{}").expect("a file");
    let client = pki.own_client_certificate("manager").expect("made anew");
    assert!(client_passes(&pki, &client));
    std::fs::write(
        folder.path().join("ca.json"),
        "{\"certificate\":\"\",\"key\":\"\"}",
    )
    .expect("a file");
    let error = Pki::open(folder.path()).expect_err("damaged");
    assert!(
        matches!(&error, PkiError::Damaged(path) if path.ends_with("ca.json")),
        "{error}"
    );
}

#[test]
fn a_name_that_no_certificate_can_carry_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(folder.path()).expect("an authority");
    let error = pki
        .server_certificate("https", &names(&["zürich"]))
        .expect_err("not ASCII");
    assert!(error.to_string().contains("zürich"), "{error}");
}

/// A request for more than it may get.
fn request(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(names(&["micado-registry"])).expect("names");
    params
        .distinguished_name
        .push(DnType::CommonName, "manager");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .serialize_request(key)
        .and_then(|request| request.pem())
        .expect("a request")
}

#[test]
fn a_machines_certificate_is_for_its_own_key_and_says_what_we_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(folder.path()).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let csr = Csr::parse(&request(&key)).expect("a good request");
    let certificate = pki
        .sign_request(&csr, "i1", MACHINE_LIFE)
        .expect("a certificate");
    let identity = Identity {
        certificate,
        key: key.serialize_pem(),
    };
    assert!(client_passes(&pki, &identity));
    assert!(
        !server_passes(&pki, &identity, "micado-registry") && !server_passes(&pki, &identity, "i1")
    );
    let signed = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
    let contains = |text: &str| {
        signed
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(contains("i1") && !contains("manager") && !contains("micado-registry"));
    let key =
        rustls::pki_types::PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
    rustls::sign::CertifiedKey::from_der(vec![signed], key, &ring::default_provider())
        .expect("certificate and key belong together");
}

#[test]
fn the_key_of_a_request_is_told_from_others_and_must_have_signed_it() {
    let (one, other) = (
        KeyPair::generate().expect("a key"),
        KeyPair::generate().expect("a key"),
    );
    let hash = |key: &KeyPair| {
        Csr::parse(&request(key))
            .expect("a good request")
            .key_hash()
    };
    assert_eq!((hash(&one), hash(&one).len()), (hash(&one), 64));
    assert_ne!(hash(&one), hash(&other));
    let der =
        rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(request(&one).as_bytes())
            .expect("PEM")
            .to_vec();
    let mut forged = der.clone();
    *forged.last_mut().expect("a signature") ^= 1;
    let pem = |der: &[u8]| {
        use base64::Engine;
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            base64::engine::general_purpose::STANDARD.encode(der)
        )
    };
    assert!(Csr::parse(&pem(&der)).is_ok());
    for bad in [
        pem(&forged),
        pem(&der[..der.len() / 2]),
        "none".to_owned(),
        String::new(),
    ] {
        assert!(Csr::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_readers_certificate_ends_after_a_working_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::open(folder.path()).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let csr = Csr::parse(&request(&key)).expect("a good request");
    let certificate = pki.sign_request(&csr, PERSON, PERSON_LIFE);
    let certificate = certificate.expect("a certificate");
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let (_, read) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let left = read.validity().time_to_expiration().expect("it is valid");
    let left = left.whole_minutes();
    assert!((719..=720).contains(&left), "{left} minutes");
    assert!(client_passes(
        &pki,
        &Identity {
            certificate,
            key: key.serialize_pem(),
        }
    ));
}
