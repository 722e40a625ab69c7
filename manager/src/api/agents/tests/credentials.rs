//! Certificates that are good for nothing: of nobody, forged, expired, of an instance that is gone.

use super::*;
use crate::{
    control::{Answer, CallKey, Event},
    pki::Pki,
};
use micado_cloudsetup::BrokerError;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn only_the_certificate_of_a_rented_instance_will_do() {
    let (manager, instance) = renting(0);
    let of = |name: &str| manager.pki.client_certificate(name).expect("a certificate");
    assert_eq!(
        status(renewal(&manager, &manager.http())).await,
        StatusCode::UNAUTHORIZED,
        "no certificate"
    );
    let token = std::fs::read_to_string(manager.state().join("token")).expect("a token");
    assert_eq!(
        status(renewal(&manager, &manager.http()).bearer_auth(token.trim())).await,
        StatusCode::UNAUTHORIZED,
        "the token is not enough"
    );
    for (name, whose) in [
        ("i-nobody", "an instance that is not rented"),
        (crate::pki::PERSON, "a reader of the registry"),
    ] {
        let refused = renewal(&manager, &showing(&manager, &of(name)));
        assert_eq!(status(refused).await, StatusCode::UNAUTHORIZED, "{whose}");
    }

    let good = showing(&manager, &of(instance.as_str()));
    let renewed: serde_json::Value = renewal(&manager, &good)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a body");
    assert!(
        renewed["certificate"]
            .as_str()
            .is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----")),
        "{renewed}"
    );
    assert_eq!(
        status(good.get(url(&manager, "/v1/status"))).await,
        StatusCode::UNAUTHORIZED,
        "it is no token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_certificate_ends_the_handshake() {
    let (manager, instance) = renting(0);
    let forged = Pki::open(&manager.state().join("stranger"))
        .expect("an authority")
        .client_certificate(instance.as_str())
        .expect("a certificate");
    renewal(&manager, &showing(&manager, &forged))
        .send()
        .await
        .expect_err("another authority's");
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_an_expired_certificate_is_good_for_its_renewal_alone() {
    let (manager, instance) = renting(0);
    let ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    let expired = |instance: &InstanceId, hours| {
        let signed = signed(&manager, instance, ago(hours + 72), ago(hours));
        showing(&manager, &signed)
    };
    for hours in [1, 80 * 24] {
        let client = expired(&instance, hours);
        assert_eq!(status(renewal(&manager, &client)).await, StatusCode::OK);
        for path in ["/v1/agent", "/v1/agent/program", "/v1/agent/sessions/1"] {
            assert_eq!(
                open(&manager, &client, path).await.err(),
                Some(StatusCode::UNAUTHORIZED),
                "{path}"
            );
        }
    }
    let nobody = expired(&InstanceId::trusted("i-nobody"), 1);
    assert_eq!(
        status(renewal(&manager, &nobody)).await,
        StatusCode::UNAUTHORIZED,
        "an instance that is not rented"
    );
    renewal(&manager, &expired(&instance, 91 * 24))
        .send()
        .await
        .expect_err("too late");
}

/// A certificate by the cluster's own authority, for this time.
fn signed(
    manager: &Manager,
    instance: &InstanceId,
    from: SystemTime,
    until: SystemTime,
) -> Identity {
    let authority = std::fs::read(manager.state().join("pki/ca.json")).expect("there");
    let authority: Identity = serde_json::from_slice(&authority).expect("an identity");
    let signing = KeyPair::from_pem(&authority.key).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signing).expect("an authority");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, instance.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (from.into(), until.into());
    let own = key();
    Identity {
        certificate: params.signed_by(&own, &issuer).expect("signed").pem(),
        key: own.serialize_pem(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_an_instance_that_is_gone_is_cut_off_and_not_let_in_again() {
    let (manager, instance) = renting(0);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    agent.heard().await;
    let refused = Answer::Launched(Err(BrokerError::Refused("quota".to_owned())));
    manager
        .handle
        .tell(Event::Answered(CallKey::Machine(instance.clone()), refused))
        .await;
    let cut = async { while let Some(Ok(_)) = agent.0.next().await {} };
    timeout(Duration::from_secs(1), cut)
        .await
        .expect("at once, whatever else there is to do");
    let client = showing(
        &manager,
        &manager
            .pki
            .client_certificate(instance.as_str())
            .expect("a certificate"),
    );
    assert_eq!(
        open(&manager, &client, "/v1/agent").await.err(),
        Some(StatusCode::UNAUTHORIZED)
    );
    assert_eq!(
        status(renewal(&manager, &client)).await,
        StatusCode::UNAUTHORIZED,
        "nor is its certificate renewed"
    );
}
