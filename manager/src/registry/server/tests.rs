//! Verdicts on containers, and what each side may do.

use super::*;
use bollard::models::{ContainerConfig, ContainerState};

fn container(
    cluster: &str,
    config: &str,
    status: ContainerStateStatusEnum,
) -> ContainerInspectResponse {
    let labels = [
        (labels::CLUSTER.to_owned(), cluster.to_owned()),
        (CONFIG_LABEL.to_owned(), config.to_owned()),
    ]
    .into();
    ContainerInspectResponse {
        config: Some(ContainerConfig {
            labels: Some(labels),
            ..Default::default()
        }),
        state: Some(ContainerState {
            status: Some(status),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn what_runs_unchanged_is_left_alone() {
    use ContainerStateStatusEnum::{CREATED, EXITED, RUNNING};
    let ours = ClusterId::trusted("abc");
    assert_eq!(
        judge(&container("abc", "1", RUNNING), &ours, "1"),
        Verdict::Good
    );
    assert_eq!(
        judge(&container("abc", "1", EXITED), &ours, "1"),
        Verdict::Stopped
    );
    assert_eq!(
        judge(&container("abc", "1", CREATED), &ours, "1"),
        Verdict::Old
    );
    assert_eq!(
        judge(&container("abc", "1", RUNNING), &ours, "2"),
        Verdict::Old
    );
    assert_eq!(
        judge(&container("xyz", "1", RUNNING), &ours, "1"),
        Verdict::Foreign
    );
    assert_eq!(
        judge(&ContainerInspectResponse::default(), &ours, "1"),
        Verdict::Foreign
    );
}

#[test]
fn every_part_of_the_configuration_counts_and_no_key_is_in_the_request() {
    let server = Identity {
        certificate: "CERTIFICATE".to_owned(),
        key: "SECRET".to_owned(),
    };
    let other = Identity {
        key: "CHANGED".to_owned(),
        ..server.clone()
    };
    let print = |server: &Identity, image: &str, port: u16| {
        fingerprint(&files(Side::Pull, "CA", server, port), image, port)
    };
    let base = print(&server, "i", 1);
    assert_eq!(base, print(&server, "i", 1));
    for changed in [
        print(&other, "i", 1),
        print(&server, "j", 1),
        print(&server, "i", 2),
    ] {
        assert_ne!(base, changed);
    }
    let own = OwnRegistry::new(ClusterId::trusted("abc"), "10.0.0.1".to_owned());
    for side in [Side::Pull, Side::Push] {
        let text = serde_json::to_string(&request(&own, side, &base)).expect("plain data");
        assert!(
            !text.contains("SECRET") && text.contains("micado-abc-registry"),
            "{text}"
        );
    }
}

#[test]
fn machines_reach_only_what_cannot_write() {
    let own = OwnRegistry::new(ClusterId::trusted("abc"), "10.0.0.1".to_owned());
    let server = Identity {
        certificate: "CERTIFICATE".to_owned(),
        key: "SECRET".to_owned(),
    };
    let side = |side| {
        let [(_, config), (_, clients), ..] = files(side, "CA", &server, own.port_of(side));
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        let mounts = request(&own, side, "1")
            .host_config
            .and_then(|host| host.mounts);
        let mount = mounts.expect("a volume").remove(0);
        (
            config["storage"]["maintenance"]["readonly"]["enabled"].clone(),
            config["http"]["addr"].clone(),
            (mount.source, mount.read_only),
            (own.name(side), clients),
        )
    };
    let volume = Some("micado-abc-registry".to_owned());
    let clients = "CA".to_owned();
    assert_eq!(
        side(Side::Pull),
        (
            true.into(),
            ":5443".into(),
            (volume.clone(), Some(true)),
            ("micado-abc-registry".to_owned(), clients.clone())
        )
    );
    assert_eq!(
        side(Side::Push),
        (
            false.into(),
            ":5444".into(),
            (volume, Some(false)),
            ("micado-abc-registry-push".to_owned(), clients)
        )
    );
}
