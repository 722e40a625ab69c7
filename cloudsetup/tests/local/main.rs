//! The `local` cloud on a real engine. Needs the node image: `scripts/node-image/build`.

mod bed;

use bed::{Bed, with_bed};
use micado_cloudsetup::{Broker, BrokerError, LocalCloud, MachineState};
use std::time::{Duration, Instant};

/// Makes an image `probe` from a few programs of the machine.
const MAKE_PROBE: &str = "cd / && tar -c bin lib* usr/bin/bash usr/bin/head usr/bin/tail usr/lib*/ | docker import - probe >/dev/null";

#[tokio::test(flavor = "multi_thread")]
async fn launching_twice_gives_one_machine_of_its_flavour_s_size() {
    with_bed("twice", async |bed| {
        let order = bed.order("i1", "small", []);
        let first = bed.cloud.launch(&order).await.expect("first launch");
        let again = bed.cloud.launch(&order).await.expect("second launch");
        assert_eq!(first.id, again.id);
        let listed = bed.cloud.list(&bed.cluster).await.expect("list");
        assert_eq!(
            listed
                .iter()
                .map(|machine| (machine.name.as_str(), machine.state))
                .collect::<Vec<_>>(),
            [(order.name.as_str(), MachineState::Running)]
        );
        assert_eq!(
            (listed[0].tag.as_ref(), listed[0].flavour.as_ref()),
            (Some(&order.tag), Some(&order.flavour))
        );
        assert!(listed[0].address.is_some(), "{listed:?}");

        bed.engine_of(&order.name).await;
        let size = bed
            .run(
                &order.name,
                "docker info --format '{{.MemTotal}} {{.NCPU}}'",
            )
            .await;
        assert_eq!(size, "536870912 1");
        assert_eq!(bed.run(&order.name, "hostname").await, order.tag.as_str());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_outgrows_the_machine_is_killed() {
    with_bed("oom", async |bed| {
        let order = bed.order("i1", "small", []);
        bed.cloud.launch(&order).await.expect("launch");
        bed.engine_of(&order.name).await;
        bed.run(&order.name, MAKE_PROBE).await;
        let modest = bed.run(&order.name, "docker run --rm --network none probe bash -c 'head -c 100M /dev/zero | tail >/dev/null'; echo $?").await;
        assert_eq!(modest, "0", "100 MB fit on a machine of 512 MB");
        let greedy = bed.run(&order.name, "docker run --rm --network none probe tail /dev/zero; echo $?").await;
        assert_eq!(greedy, "137", "what takes all memory must be killed");
        assert_eq!(bed.run(&order.name, "docker info --format '{{.ContainersRunning}}'").await, "0", "the machine's engine must survive");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_lost_power_is_dead_and_terminating_leaves_nothing() {
    with_bed("dead", async |bed| {
        let order = bed.order("i1", "small", []);
        let machine = bed.cloud.launch(&order).await.expect("launch");
        bed.engine_of(&order.name).await;
        bed.run(&order.name, MAKE_PROBE).await;
        bed.run(
            &order.name,
            "docker run --detach --network none probe tail -f /dev/null",
        )
        .await;
        let volumes = bed.volumes(&order.name).await;
        assert!(
            !volumes.is_empty() && !bed::cgroups(&machine.id).is_empty(),
            "the machine has a volume and cgroups"
        );

        bed.kill(&order.name).await;
        let dead = bed.shown(&order.name).await.expect("still listed");
        assert_eq!(dead.state, MachineState::Dead, "{dead:?}");

        bed.cloud.terminate(&order.name).await.expect("terminate");
        assert_eq!(bed.cloud.list(&bed.cluster).await, Ok(Vec::new()));
        assert_eq!(bed.left_of(&volumes).await, Vec::<String>::new());
        assert_eq!(bed::cgroups(&machine.id), Vec::<std::path::PathBuf>::new());
        bed.cloud
            .terminate(&order.name)
            .await
            .expect("terminate what is gone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_machine_can_be_given_back() {
    with_bed("frozen", async |bed| {
        let order = bed.order("i1", "small", []);
        let machine = bed.cloud.launch(&order).await.expect("launch");
        bed.pause(&order.name).await;
        assert_eq!(
            bed.shown(&order.name).await.map(|machine| machine.state),
            Some(MachineState::Running)
        );
        bed.cloud.terminate(&order.name).await.expect("terminate");
        assert_eq!(bed::cgroups(&machine.id), Vec::<std::path::PathBuf>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_was_cut_off_is_finished_by_the_next() {
    with_bed("cut", async |bed| {
        for (index, cut_ms) in [1, 5, 20, 50, 100, 200, 400].into_iter().enumerate() {
            let order = bed.order(
                &format!("i{index}"),
                "small",
                [("credential", "secret"), ("files/one", "pem")],
            );
            let cut =
                tokio::time::timeout(Duration::from_millis(cut_ms), bed.cloud.launch(&order)).await;
            // The engine may just be removing the interrupted one: `Unknown` asks for a repetition,
            // which the manager tries for 30 s.
            let asked = Instant::now();
            let machine = loop {
                match bed.cloud.launch(&order).await {
                    Err(BrokerError::Unknown(_)) if asked.elapsed() < Duration::from_secs(30) => {}
                    answer => break answer.expect("the launch after the cut"),
                }
            };
            assert_eq!(
                machine.state,
                MachineState::Running,
                "cut after {cut_ms} ms: {cut:?}"
            );
            assert_eq!(
                bed.cloud.list(&bed.cluster).await.expect("list").len(),
                1,
                "cut after {cut_ms} ms"
            );
            let modes = bed
                .run(
                    &order.name,
                    "stat -c '%a %U' /etc/micado /etc/micado/credential; cat /etc/micado/files/one",
                )
                .await;
            assert_eq!(modes, "700 root\n600 root\npem");
            bed.cloud.terminate(&order.name).await.expect("terminate");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_or_not_there_is_refused_in_plain_words() {
    with_bed("refused", async |bed| {
        let unknown = bed.cloud.launch(&bed.order("i1", "tiny", [])).await.expect_err("no such flavour");
        assert_eq!(unknown, BrokerError::Refused("cloud `here` has no flavour `tiny` (it has: small)".to_owned()));

        let no_image = bed.cloud_with(&bed.endpoint, "micado-node:no-such-tag").launch(&bed.order("i2", "small", [])).await.expect_err("no such image");
        assert!(matches!(&no_image, BrokerError::Refused(text) if text.contains("no-such-tag") && text.contains("scripts/node-image/build")), "{no_image}");

        let order = bed.order("i3", "small", []);
        bed.foreign(&order.name).await;
        let taken = bed.cloud.launch(&order).await.expect_err("the name is taken");
        assert!(matches!(&taken, BrokerError::Refused(text) if text.contains("is not a machine of cloud `here`")), "{taken}");
        assert!(matches!(bed.cloud.terminate(&order.name).await, Err(BrokerError::Refused(_))), "a foreign container must stay");

        let nobody = bed.cloud_with("unix:///nowhere/docker.sock", "image").list(&bed.cluster).await.expect_err("no engine");
        assert!(matches!(&nobody, BrokerError::Unknown(text) if text.contains("/nowhere/docker.sock")), "{nobody}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_missing_and_leaves_nothing() {
    with_bed("check", async |bed| {
        let problems = async |cloud: LocalCloud| cloud.check().await.into_iter().map(|finding| finding.problem.unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(bed.cloud.check().await.iter().filter(|finding| finding.problem.is_none()).count(), 2);
        let no_image = problems(bed.cloud_with(&bed.endpoint, "micado-node:no-such-tag")).await;
        assert_eq!(no_image, ["", "the engine does not have it: build `micado-node:no-such-tag` with scripts/node-image/build"]);
        let [no_engine] = &problems(bed.cloud_with("unix:///nowhere/docker.sock", "image")).await[..] else { panic!("nothing more can be looked for") };
        assert!(no_engine.contains("/nowhere/docker.sock does not answer") && no_engine.ends_with("start it, or correct `endpoint`"), "{no_engine}");
    })
    .await;
}

/// Joining is tested with the packages (`scripts/packages/test`) and end to end. This test shows
/// that a machine's disk survives a power loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_a_swarm_is_in_it_again_after_a_restart() {
    with_bed("swarm", async |bed| {
        let manager = bed.order("m", "small", []);
        bed.cloud
            .launch(&manager)
            .await
            .expect("launch of the manager's machine");
        bed.engine_of(&manager.name).await;
        bed.run(&manager.name, "docker swarm init --advertise-addr eth0")
            .await;
        let token = bed
            .run(&manager.name, "docker swarm join-token --quiet worker")
            .await;
        let address = bed.run(&manager.name, "hostname --ip-address").await;

        let worker = bed.order("i1", "small", [("labels", "micado.instance=i1\n")]);
        let start = Instant::now();
        bed.cloud.launch(&worker).await.expect("launch");
        let launched = start.elapsed();
        bed.engine_of(&worker.name).await;
        println!(
            "launch call {launched:?}, engine up after {:?}, {} used",
            start.elapsed(),
            bed.memory(&worker.name).await
        );
        bed.run(
            &worker.name,
            &format!("docker swarm join --token {token} {address}:2377"),
        )
        .await;
        bed.ready(&manager.name, worker.tag.as_str()).await;
        let id = bed
            .run(&worker.name, "docker info --format '{{.Swarm.NodeID}}'")
            .await;
        bed.restart(&worker.name).await;
        // The manager may not have missed it yet, so ask the machine itself.
        bed.active(&worker.name).await;
        bed.ready(&manager.name, worker.tag.as_str()).await;
        assert_eq!(
            bed.run(
                &worker.name,
                "docker info --format '{{.Swarm.NodeID}}'; cat /etc/micado/labels"
            )
            .await,
            format!("{id}\nmicado.instance=i1")
        );
    })
    .await;
}

/// End-to-end tests get a manager's engine of their own this way.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_the_image_is_an_engine_on_a_shared_socket() {
    with_bed("engine", async |bed| {
        let folder = std::env::temp_dir().join(bed.cluster.as_str());
        std::fs::create_dir(&folder).expect("a folder");
        let name = format!("{}-manager", bed.cluster);
        let id = bed.bare_engine(&name, &folder).await;
        bed.engine_of(&name).await;
        let socket = format!("unix://{}/docker.sock", folder.display());
        let engine = bollard::Docker::connect_with_host(&socket)
            .expect("its socket")
            .negotiate_version()
            .await
            .expect("its answer");
        let hostname = engine.info().await.expect("info").name;
        bed.kill(&name).await;
        micado_cloudsetup::local::remove_cgroups(&id).await;
        std::fs::remove_dir_all(&folder).expect("cleaning up");
        assert_eq!(hostname.as_deref(), Some("manager"));
        assert_eq!(bed::cgroups(&id), Vec::<std::path::PathBuf>::new());
    })
    .await;
}

/// A manager on the host advertises the hosting engine's address on the instances' network.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_made_once_and_only_ours_is_removed() {
    with_bed("network", async |bed: &Bed| {
        let (one, two) = tokio::join!(
            bed.cloud.gateway(&bed.cluster),
            bed.cloud.gateway(&bed.cluster)
        );
        assert_eq!(one.expect("a gateway"), two.expect("the same"));
        let other = micado_api::ClusterId::trusted("somebody-else");
        bed.cloud
            .remove_network(&other)
            .await
            .expect("leaving what is not ours");
        assert!(bed.network_is_there().await);
        bed.cloud
            .remove_network(&bed.cluster)
            .await
            .expect("removing ours");
        assert!(!bed.network_is_there().await);
        bed.cloud
            .remove_network(&bed.cluster)
            .await
            .expect("removing what is gone");
    })
    .await;
}

/// Machines receive the manager's address as the network's gateway. So a lost network is made again
/// with its addresses: by the cloud that made it, and by a later one that is configured with them.
/// The engine's own choice would differ: it would take the addresses of an earlier, removed
/// network.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_network_is_made_again_with_its_addresses() {
    with_bed("again", async |bed: &Bed| {
        let first_name = format!("{}-first", bed.network());
        let first = bed.cloud_on(&first_name, None);
        let lost = async || {
            bed.cloud
                .remove_network(&bed.cluster)
                .await
                .expect("a lost network");
        };
        let (_, taken) = first.gateway(&bed.cluster).await.expect("the first");
        let before = bed.cloud.gateway(&bed.cluster).await.expect("the second");
        first
            .remove_network(&bed.cluster)
            .await
            .expect("the first is gone");
        lost().await;

        let again = bed.cloud.gateway(&bed.cluster).await;
        assert_eq!(again.expect("made again"), before);
        lost().await;
        let later = bed.cloud_on(&bed.network(), Some(&before.1));
        let again = later.gateway(&bed.cluster).await;
        assert_eq!(again.expect("made by a later one"), before);

        // Requested addresses that differ from the existing ones, and addresses that are taken.
        let other = bed.cloud_on(&bed.network(), Some(&taken));
        let refused = other.gateway(&bed.cluster).await.expect_err("a refusal");
        assert!(refused.to_string().contains(&taken), "{refused}");
        let squatter = bed.cloud_on(&first_name, Some(&before.1));
        let refused = squatter.gateway(&bed.cluster).await.expect_err("a refusal");
        assert!(refused.to_string().contains("was lost"), "{refused}");
    })
    .await;
}
