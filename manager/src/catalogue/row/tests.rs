use super::*;
use micado_api::{ContainerName, Location, ServiceName, Tag};

fn machine(tag: &str, address: &str) -> Arc<Node> {
    let cluster = ClusterId::trusted("c1");
    let node_view = ListedNode {
        id: InstanceId::trusted(tag),
        tag: Tag::trusted(tag),
        address: address.to_owned(),
        location: Location::default(),
        offer: "local/small".to_owned(),
        answers: true,
    };
    Arc::new(node(&cluster, &node_view))
}

fn copy(generation: u32, instance: &str, ports: &[(u16, u16)], health: CopyHealth) -> ListedCopy {
    let port = |(container, host): &(u16, u16)| PortMapping {
        host: Some(*host),
        container: *container,
        protocol: Protocol::Tcp,
    };
    ListedCopy {
        generation,
        instance: InstanceId::trusted(instance),
        image: "web:2".to_owned(),
        ports: ports.iter().map(port).collect(),
        health,
    }
}

fn web(copies: Vec<ListedCopy>) -> ListedContainer {
    ListedContainer {
        name: ContainerName::trusted("acme_web.1"),
        service: ServiceName::trusted("acme_web"),
        client: "acme".to_owned(),
        location: Location::default(),
        domain: Some("shop.example".to_owned()),
        tags: vec!["traefik.enable=true".to_owned()],
        copies,
    }
}

fn made(container: &ListedContainer, before: &[Arc<Entry>]) -> Vec<Entry> {
    let node_of = |id: &InstanceId| {
        let is_known = id.as_str() != "lost";
        is_known.then(|| machine(id.as_str(), &format!("{id}.example")))
    };
    entries(container, node_of, before)
}

fn lines(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| {
        let (address, port) = (&entry.address, entry.port);
        let status = entry.status.word();
        format!(
            "{} {} {address}:{port} {status} {}",
            entry.id, entry.service, entry.output
        )
        .trim_end()
        .to_owned()
    };
    entries.iter().map(line).collect()
}

#[test]
fn each_published_port_of_a_copy_is_an_entry() {
    let mut container = web(vec![copy(
        1,
        "app1",
        &[(80, 32_768), (9090, 32_769)],
        CopyHealth::Running,
    )]);
    container.copies[0].ports.push(PortMapping {
        host: Some(32_770),
        container: 53,
        protocol: Protocol::Udp,
    });
    // Not published: a wrong address for everybody outside of its network.
    container.copies[0].ports.push(PortMapping {
        host: None,
        container: 81,
        protocol: Protocol::Tcp,
    });
    let entries = made(&container, &[]);
    assert_eq!(
        lines(&entries),
        [
            "app1:acme_web.1:80 acme_web app1.example:32768 passing",
            "app1:acme_web.1:9090 acme_web-9090 app1.example:32769 passing",
            "app1:acme_web.1:53:udp acme_web-53 app1.example:32770 passing",
        ]
    );
    insta::assert_debug_snapshot!(entries[0]);
}

#[test]
fn only_a_running_copy_passes() {
    let of = |health| lines(&made(&web(vec![copy(1, "app1", &[(80, 80)], health)]), &[])).join("");
    let plain = "app1:acme_web.1:80 acme_web app1.example:80";
    assert_eq!(of(CopyHealth::Running), format!("{plain} passing"));
    assert_eq!(
        of(CopyHealth::Starting),
        format!("{plain} critical starting")
    );
    assert_eq!(
        of(CopyHealth::Draining),
        format!("{plain} critical draining")
    );
    let down = CopyHealth::Down("exit code 1".to_owned());
    assert_eq!(of(down), format!("{plain} critical exit code 1"));
    let kept = of(CopyHealth::Kept("unhealthy: status 503".to_owned()));
    let words = "kept, because more than half of the service would be out";
    assert_eq!(
        kept,
        format!("{plain} passing unhealthy: status 503; {words}")
    );
    let long = CopyHealth::Down("ä".repeat(5_000));
    let long = made(&web(vec![copy(1, "app1", &[(80, 80)], long)]), &[]);
    assert_eq!(long[0].output.len(), 4096);
}

#[test]
fn a_copy_keeps_its_entries_until_it_has_ended() {
    let running = web(vec![copy(1, "app1", &[(80, 32_768)], CopyHealth::Running)]);
    let before: Vec<_> = made(&running, &[]).into_iter().map(Arc::new).collect();
    // The engine shows no ports of a service that was removed.
    let retiring = web(vec![
        copy(1, "app1", &[], CopyHealth::Draining),
        copy(2, "app2", &[(80, 32_769)], CopyHealth::Running),
    ]);
    assert_eq!(
        lines(&made(&retiring, &before)),
        [
            "app2:acme_web.1:80 acme_web app2.example:32769 passing",
            "app1:acme_web.1:80 acme_web app1.example:32768 critical draining",
        ]
    );
    let down = CopyHealth::Down("exit code 1".to_owned());
    let restarting = web(vec![copy(1, "app1", &[], down)]);
    assert_eq!(
        lines(&made(&restarting, &before)),
        ["app1:acme_web.1:80 acme_web app1.example:32768 critical exit code 1"]
    );
    // After a restart of the manager nothing is known of it.
    let retired = web(vec![copy(1, "app1", &[], CopyHealth::Draining)]);
    assert!(made(&retired, &[]).is_empty());
    assert!(made(&web(Vec::new()), &before).is_empty());
}

#[test]
fn copies_on_one_machine_have_different_ids_and_those_on_none_have_no_entry() {
    let both = web(vec![
        copy(1, "app1", &[(80, 32_768)], CopyHealth::Running),
        copy(2, "app1", &[(80, 32_769)], CopyHealth::Starting),
        copy(3, "lost", &[(80, 32_770)], CopyHealth::Running),
    ]);
    assert_eq!(
        lines(&made(&both, &[])),
        [
            "app1:acme_web.1:80 acme_web app1.example:32769 critical starting",
            "app1:acme_web.1:80:1 acme_web app1.example:32768 passing",
        ]
    );
}
