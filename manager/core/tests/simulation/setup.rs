//! Initial state of a world: clouds, flavours, limits and the manager's own node.

use crate::{clock::Dice, machine::Cloud};
use micado_api::{
    CloudName, ClusterId, FlavourName, Location, MemoryBytes, NanoCpus, PricePerHour, Resources,
    ServiceName,
};
use micado_cloudsetup::{
    Application, Billing, Bounds, BrokerKind, CloudSetup, Flavour, Headroom, Role,
};
use micado_core::{
    control::{Config, heartbeat_for},
    engine::SwarmNode,
};
use std::{collections::BTreeMap, time::Duration};

/// A world's settings: limits, time-outs and prices vary by seed.
pub fn config(dice: &mut Dice) -> Config {
    let mut config = plain();
    for cloud in &mut config.setup.clouds {
        cloud.join_timeout = Duration::from_secs(dice.between(60, 240));
        for flavour in &mut cloud.flavours {
            flavour.billing = *dice
                .pick(&[Billing::Second, Billing::FiveMinutes, Billing::Hour])
                .unwrap_or(&Billing::Second);
            flavour.price = PricePerHour(flavour.price.0 * dice.between(50, 150) / 100);
        }
    }
    config.max_instances =
        (!dice.per_mille(100)).then(|| u32::try_from(dice.between(2, 9)).unwrap_or(9));
    config.max_price = dice
        .per_mille(300)
        .then(|| PricePerHour(dice.between(40_000, 300_000)));
    config.down_timeout = Duration::from_secs(dice.between(15, 180));
    // An existing Swarm has a heartbeat of its own.
    config.heartbeat = if dice.per_mille(300) {
        Duration::from_secs(5)
    } else {
        heartbeat_for(config.down_timeout)
    };
    config.remove_unknown_nodes = dice.per_mille(500);
    config.keep_gone = Duration::from_secs(if dice.per_mille(300) { 300 } else { 24 * 3600 });
    // From a copy: a world without bounds is the same as if bounds were not drawn.
    let dice = &mut dice.clone();
    for location in [Location::default(), Location::trusted("database")] {
        if dice.per_mille(200) {
            config.setup.locations.push(bounds(location, dice));
        }
    }
    config
}

fn bounds(location: Location, dice: &mut Dice) -> Bounds {
    let number = |dice: &mut Dice| u32::try_from(dice.below(3)).unwrap_or(0);
    let min_machines = number(dice);
    Bounds {
        location,
        min_machines,
        max_machines: dice
            .per_mille(700)
            .then(|| min_machines.max(1) + number(dice)),
        max_price: dice
            .per_mille(300)
            .then(|| PricePerHour(dice.between(30_000, 150_000))),
        headroom: headroom(dice),
    }
}

fn headroom(dice: &mut Dice) -> Option<Headroom> {
    let number = u32::try_from(dice.between(1, 3)).unwrap_or(1);
    let size = Resources::new(MemoryBytes::mib(u64::from(number) * 256), NanoCpus(0));
    let copies = Headroom::Copies {
        count: number,
        of: ServiceName::trusted("ann_web"),
    };
    let some = [
        copies,
        Headroom::Percent(number * 20),
        Headroom::Room(size),
        Headroom::Machines(1),
    ];
    let some = dice.pick(&some).cloned();
    some.filter(|_| dice.per_mille(500))
}

/// Two clouds with three sizes each, one of them unknown in size.
pub fn plain() -> Config {
    let east = cloud(
        "east",
        vec![
            flavour("small", Some(1), 10_000),
            flavour("medium", Some(2), 20_000),
            flavour("large", Some(4), 45_000),
        ],
    );
    let west = cloud(
        "west",
        vec![
            flavour("cheap", Some(2), 18_000),
            flavour("old", None, 5_000),
            flavour("big", Some(4), 38_000),
        ],
    );
    let node = Application {
        name: "Node".to_owned(),
        software: "node".to_owned(),
        executable: "node".to_owned(),
        param_template: None,
        rent: Default::default(),
        extra: Vec::new(),
        role: Role::Node,
    };
    let proxy = Application {
        name: "Proxy".to_owned(),
        role: Role::Proxy,
        ..node.clone()
    };
    let mut config = Config::new(
        ClusterId::trusted("sim"),
        CloudSetup {
            clouds: vec![east, west],
            applications: vec![node, proxy],
            locations: Vec::new(),
        },
    );
    config.max_instances = Some(10);
    config
}

fn cloud(name: &str, flavours: Vec<Flavour>) -> micado_cloudsetup::Cloud {
    micado_cloudsetup::Cloud {
        name: CloudName::trusted(name),
        provider: name.to_owned(),
        region: name.to_owned(),
        broker: BrokerKind::Local,
        endpoint: None,
        credentials: None,
        authority: None,
        wire: Default::default(),
        join_timeout: Duration::from_secs(120),
        flavours,
    }
}

fn flavour(name: &str, gib: Option<u64>, price: u64) -> Flavour {
    let size = gib.map(|gib| Resources::new(MemoryBytes::mib(gib * 1024), NanoCpus::cores(gib)));
    Flavour {
        name: FlavourName::trusted(name),
        id: name.to_owned(),
        size,
        price: PricePerHour(price),
        billing: Billing::Second,
    }
}

/// Clouds without machines. The first keeps the properties of orders, the second does not.
pub fn clouds(config: &Config) -> Vec<Cloud> {
    let clouds = config.setup.clouds.iter().enumerate();
    clouds
        .map(|(at, setup)| Cloud {
            setup: setup.clone(),
            machines: BTreeMap::new(),
            down: false,
            refuses: None,
            tells: at == 0,
        })
        .collect()
}

/// Node of the manager itself.
pub fn managers_node() -> SwarmNode {
    SwarmNode {
        id: String::new(),
        hostname: "manager".to_owned(),
        instance: None,
        labels: BTreeMap::new(),
        ready: true,
        active: true,
        manager: true,
        size: Resources::new(MemoryBytes::mib(8192), NanoCpus::cores(4)),
        platform: None,
        address: Some("10.0.0.1".to_owned()),
    }
}
