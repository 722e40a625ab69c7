//! HTTPS with a certificate made by the simulator.

use crate::client::Client;
use micado_cloudbroker::{Certificate, Config, Https, Simulator};

#[tokio::test]
async fn only_who_trusts_its_authority_speaks_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = || {
        let certificate = Certificate::Made {
            folder: folder.path().to_owned(),
            names: vec!["broker.test".to_owned()],
        };
        Config {
            https: Some(Https {
                listen: ([127, 0, 0, 1], 0).into(),
                certificate,
            }),
            ..Config::default()
        }
    };
    let simulator = Simulator::start(config()).await.expect("a simulator");
    let url = simulator.https_url().expect("HTTPS");
    let stranger = Client::new(url.clone());
    assert!(
        stranger
            .try_call(reqwest::Method::GET, "/jobs.xml", "", "")
            .await
            .expect_err("no trust")
            .is_connect()
    );

    let authority = std::fs::read(simulator.authority().expect("an authority")).expect("its file");
    let trusting = || {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).expect("a certificate")])
    };
    assert_eq!(
        Client::with(url.replace("127.0.0.1", "localhost"), trusting())
            .get("/jobs.xml")
            .await
            .status,
        200
    );
    drop(simulator);
    let again = Simulator::start(config()).await.expect("a simulator");
    assert_eq!(
        Client::with(again.https_url().expect("HTTPS"), trusting())
            .get("/jobs.xml")
            .await
            .status,
        200
    );
}
