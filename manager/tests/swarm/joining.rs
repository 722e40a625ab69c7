//! Whom the Swarm lets in, and its heartbeat.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_token_lets_machines_in_and_the_old_one_none_and_nothing_else_changes() {
    let mut lab = Lab::new("token").await;
    let manager = lab.node(&[]).await;
    let swarm = connect(&manager).await;
    // Settings of the Swarm that a rewritten spec could lose.
    manager.shell("docker swarm update --task-history-limit 3 --cert-expiry 720h --dispatcher-heartbeat 7s --max-snapshots 2 --snapshot-interval 9000");
    let spec = || {
        let whole: serde_json::Value = serde_json::from_str(
            &manager.shell("curl --silent --unix-socket /run/docker.sock http://engine/swarm"),
        )
        .expect("the Swarm as the engine tells it");
        (
            whole["Spec"].clone(),
            whole["JoinTokens"]["Manager"].clone(),
            whole["TLSInfo"].clone(),
        )
    };
    let (before, old) = (spec(), swarm.join_facts().await.expect("how to join"));
    assert_eq!(
        (
            before.0["Labels"]["micado.cluster"].as_str(),
            before.0["Name"].as_str()
        ),
        (Some(CLUSTER), Some("default"))
    );
    let worker = lab.node(&[]).await;
    worker.join(&old).await.expect("in the Swarm");

    swarm.rotate_join_token().await.expect("renewed");
    let renewed = swarm.join_facts().await.expect("how to join");
    assert_ne!(renewed.token, old.token);
    assert_eq!(renewed.managers, old.managers);
    assert_eq!(
        spec(),
        before,
        "labels, name, every setting, the managers' token and the authority are what they were"
    );

    let late = lab.node(&[]).await;
    let refused = late
        .join(&old)
        .await
        .expect_err("the old token is good for nothing");
    assert!(refused.to_string().contains("token"), "{refused}");
    late.join(&renewed)
        .await
        .expect("in the Swarm with the new one");
    let ready = async || {
        swarm
            .observe()
            .await
            .expect("an observation")
            .nodes
            .iter()
            .filter(|node| node.ready)
            .count()
    };
    tokio::time::timeout(PATIENCE, async {
        while ready().await < 3 {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    })
    .await
    .expect("the first is in still, and the late one too");

    // A foreign node that answers is removed as well.
    let stranger = swarm
        .observe()
        .await
        .expect("an observation")
        .nodes
        .into_iter()
        .find(|node| !node.manager)
        .expect("a worker");
    swarm.remove_node(&stranger.id).await.expect("removed");
    assert!(
        swarm
            .observe()
            .await
            .expect("an observation")
            .nodes
            .iter()
            .all(|node| node.id != stranger.id)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_that_the_manager_made_has_the_heartbeat_that_is_wanted_and_one_that_it_found_its_own()
 {
    let mut lab = Lab::new("heartbeat").await;
    let wanted = |node: &Node, seconds| SwarmConfig {
        endpoint: node.endpoint.clone(),
        heartbeat: Duration::from_secs(seconds),
        ..SwarmConfig::new(ClusterId::trusted(CLUSTER))
    };
    // As `docker info` shows it.
    let tells = |node: &Node| {
        node.shell("docker info --format '{{.Swarm.Cluster.Spec.Dispatcher.HeartbeatPeriod}} {{index .Swarm.Cluster.Spec.Labels \"micado.swarm\"}}'")
    };
    let own = lab.node(&[]).await;
    for seconds in [40, 30] {
        let swarm = Swarm::connect(&wanted(&own, seconds))
            .await
            .expect("a Swarm");
        assert_eq!(swarm.heartbeat(), Duration::from_secs(seconds));
        assert_eq!(tells(&own).trim(), format!("{seconds}s made"));
    }
    own.shell("docker swarm leave --force && docker swarm init");
    let unsaid = Swarm::connect(&wanted(&own, 40)).await.expect("a Swarm");
    assert_eq!(
        (unsaid.heartbeat(), tells(&own).trim()),
        (Duration::from_secs(5), "5s found"),
        "somebody else made this one"
    );
    let again = Swarm::connect(&wanted(&own, 40)).await.expect("a Swarm");
    assert_eq!(
        again.heartbeat(),
        Duration::from_secs(5),
        "and it stays as it is"
    );
    own.shell("docker swarm update --dispatcher-heartbeat 33s");
    assert_eq!(
        Swarm::connect(&wanted(&own, 40))
            .await
            .expect("a Swarm")
            .heartbeat(),
        Duration::from_secs(33),
        "its owner says"
    );
}
