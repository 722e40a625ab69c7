//! Who may read and write the images of the registry.

use crate::support::Node;
use micado_manager::{
    pki::{Identity, Pki},
    registry::Registry,
};
use std::sync::Arc;

/// A client of the registry that shows this certificate.
fn registry_client(pki: &Pki, identity: Option<&Identity>) -> reqwest::Client {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.authority().as_bytes()).expect("PEM"))
        .expect("an authority");
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let tls = tls
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let tls = match identity {
        None => tls.with_no_client_auth(),
        Some(identity) => {
            let certificate =
                CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
            tls.with_client_auth_cert(vec![certificate], key)
                .expect("a certificate")
        }
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .expect("a client")
}

/// Requests without a certificate of our authority are refused, and where images are written, those
/// without the manager's.
pub async fn strangers_are_turned_away(address: &str, pki: &Pki) {
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = Pki::open(folder.path())
        .expect("another authority")
        .client_certificate("manager")
        .expect("a certificate");
    let machine = pki.client_certificate("i7").expect("a certificate");
    for (identity, welcome) in [
        (None, false),
        (Some(stranger), false),
        (Some(machine), true),
    ] {
        let client = registry_client(pki, identity.as_ref());
        let welcomes = async |port: u16| {
            let asked = client.get(format!("https://{address}:{port}/v2/")).send();
            asked.await.is_ok_and(|answer| answer.status().is_success())
        };
        assert_eq!(welcomes(5443).await, welcome);
        assert!(!welcomes(5444).await, "there only the manager may ask");
    }
}

/// A machine's certificate reads what was pushed and changes nothing. What another image's tag holds
/// is not believed.
pub async fn images_are_the_managers_own(
    manager: &Node,
    registry: &Registry,
    pki: &Pki,
    pull: &str,
) {
    let machine = pki.client_certificate("i7").expect("a certificate");
    let client = registry_client(pki, Some(&machine));
    let (name, digest) = pull.split_once('@').expect("by digest");
    let (host, repository) = name.split_once('/').expect("a host");
    let url = |path: &str| format!("https://{host}/v2/{repository}/{path}");
    let manifest = client
        .get(url(&format!("manifests/{digest}")))
        .header(
            "accept",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
        .send()
        .await
        .expect("an answer");
    assert!(manifest.status().is_success(), "{manifest:?}");
    let manifest = manifest.bytes().await.expect("a manifest");
    for request in [
        client.post(url("blobs/uploads/")),
        client.put(url("manifests/stolen")).body(manifest),
        client.delete(url(&format!("manifests/{digest}"))),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 405, "{answer:?}");
    }
    let push = host.replace(":5443", ":5444");
    manager.make_image("acme/other:1");
    manager.shell(&format!(
        "set -e; id=$(docker image inspect --format '{{{{.Id}}}}' acme/sample:1); \
         forged={push}/{repository}:${{id#sha256:}}; docker tag acme/other:1 $forged; \
         docker push --quiet $forged; docker rmi $forged"
    ));
    let pushed = registry.push("acme/sample:1", None).await;
    assert_eq!(pushed.expect("pushed").reference, pull);
}
