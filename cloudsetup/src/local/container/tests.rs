//! Tests of the request that makes a machine.

use super::*;
use micado_api::{FlavourName, Location, MemoryBytes, NanoCpus, PricePerHour, Resources, Tag};

fn order() -> Order {
    Order {
        name: "micado-abc-i1".to_owned(),
        cluster: ClusterId::trusted("abc"),
        instance: InstanceId::trusted("i1"),
        tag: Tag::trusted("application01"),
        location: Location::default(),
        application: "Node".to_owned(),
        flavour: FlavourName::trusted("small"),
        files: [("credential".to_owned(), b"SWMTKN-secret".to_vec())].into(),
    }
}

fn made(cores: u64, host: &Host) -> ContainerCreateBody {
    let flavour = Flavour {
        name: FlavourName::trusted("small"),
        id: "small".to_owned(),
        size: Some(Resources::new(
            MemoryBytes::mib(512),
            NanoCpus::cores(cores),
        )),
        price: PricePerHour(0),
        billing: crate::Billing::default(),
    };
    let config = LocalConfig {
        network: "net".to_owned(),
        image: "image".to_owned(),
        subnet: None,
    };
    request(
        &order(),
        &CloudName::trusted("here"),
        &flavour,
        &config,
        host,
    )
}

fn host(unified_cgroups: bool, pinned: &[usize]) -> Host {
    Host {
        unified_cgroups,
        pinned: pinned.to_vec(),
        capabilities: vec!["NET_ADMIN".to_owned()],
    }
}

#[test]
fn cores_are_the_least_used_and_never_more_than_the_host_has() {
    let cpus = |cores, pinned: &[usize]| {
        let limits = made(cores, &host(false, pinned))
            .host_config
            .expect("limits");
        (limits.cpuset_cpus, limits.nano_cpus)
    };
    assert_eq!(
        cpus(1, &[2, 1]),
        (Some("1".to_owned()), Some(1_000_000_000))
    );
    assert_eq!(
        cpus(2, &[2, 1, 0, 5]),
        (Some("1,2".to_owned()), Some(2_000_000_000))
    );
    assert_eq!(cpus(8, &[2, 1]), (None, Some(2_000_000_000)));
}

#[test]
fn pins_are_counted_from_the_labels() {
    let on = |cpus: &str| ContainerSummary {
        labels: Some([(CPUS.to_owned(), cpus.to_owned())].into()),
        ..ContainerSummary::default()
    };
    assert_eq!(
        pinned(
            &[on("0"), on("0,1"), on("7"), ContainerSummary::default()],
            2
        ),
        [2, 1]
    );
}

#[test]
fn the_host_s_cgroups_are_mounted_on_v1_only() {
    let v1 = made(1, &host(false, &[0, 0])).host_config.expect("v1");
    assert_eq!(
        (v1.binds.map(|binds| binds.len()), v1.cgroupns_mode),
        (Some(1), Some(CgroupNs::HOST))
    );
    let v2 = made(1, &host(true, &[0, 0])).host_config.expect("v2");
    assert_eq!(
        (v2.binds, v2.cgroupns_mode, v2.privileged),
        (None, Some(CgroupNs::PRIVATE), None)
    );
}

#[test]
fn secrets_are_nowhere_in_the_request() {
    let text = format!("{:?}", made(1, &host(false, &[0])));
    assert!(
        !text.contains("SWMTKN") && text.contains("micado.instance"),
        "{text}"
    );
}

#[test]
fn only_the_very_machine_is_ours() {
    let labels = made(1, &host(false, &[0])).labels;
    let here = CloudName::trusted("here");
    assert!(is_machine(labels.as_ref(), &here, "micado-abc-i1"));
    assert!(!is_machine(labels.as_ref(), &here, "micado-abc-i2"));
    assert!(!is_machine(
        labels.as_ref(),
        &CloudName::trusted("there"),
        "micado-abc-i1"
    ));
    assert!(!is_machine(None, &here, "micado-abc-i1"));
}
