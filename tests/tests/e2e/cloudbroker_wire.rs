//! The CloudBroker client alone against the simulator: every notation that the service may use, and
//! random faults.

use micado_api::{ClusterId, FlavourName, InstanceId, Location, MachineName, Tag};
use micado_cloudbroker::{CallKind, Config, Fault, Nulls, Pace, Rule, Simulator, Spelling};
use micado_cloudsetup::{
    Broker, BrokerError, CloudBroker, CloudSetup, Machine, MachineState, Order,
};
use micado_tests::{Rented, cloudbroker, wait};
use std::time::Duration;

/// Number of worlds with random faults. `MICADO_SEEDS` sets more.
const SEEDS: u64 = 24;

fn spellings() -> Vec<(&'static str, Spelling)> {
    let usual = Spelling::default;
    vec![
        ("as is likely", usual()),
        (
            "underscores",
            Spelling {
                underscores: true,
                ..usual()
            },
        ),
        (
            "empty for nothing",
            Spelling {
                nulls: Nulls::Empty,
                ..usual()
            },
        ),
        (
            "absent for nothing",
            Spelling {
                nulls: Nulls::Absent,
                ..usual()
            },
        ),
        (
            "nothing in any way",
            Spelling {
                nulls: Nulls::Random,
                ..usual()
            },
        ),
        (
            "nil-classes",
            Spelling {
                nil_classes: true,
                ..usual()
            },
        ),
        (
            "blank answers to actions",
            Spelling {
                blank_actions: true,
                ..usual()
            },
        ),
        (
            "200 for creating",
            Spelling {
                create_is_200: true,
                ..usual()
            },
        ),
        (
            "no paging",
            Spelling {
                paging: false,
                ..usual()
            },
        ),
        (
            "instances not by job",
            Spelling {
                filters_by_job: false,
                nested_instances: false,
                shows_job_id: true,
                ..usual()
            },
        ),
        (
            "instances by job only as a parameter",
            Spelling {
                nested_instances: false,
                ..usual()
            },
        ),
        (
            "halted instances vanish",
            Spelling {
                halted_listed: Some(Duration::ZERO),
                ..usual()
            },
        ),
        (
            "ghosts of halted instances",
            Spelling {
                ghosts: true,
                ..usual()
            },
        ),
    ]
}

fn order(cluster: &ClusterId, number: u32) -> Order {
    let instance = InstanceId::trusted(format!("{number:08x}"));
    Order {
        name: MachineName::new(cluster, &instance).to_string(),
        cluster: cluster.clone(),
        instance,
        tag: Tag::trusted(format!("application{number:02}")),
        location: Location::default(),
        application: "Node".to_owned(),
        flavour: FlavourName::trusted("small"),
        files: [
            ("credential", "c"),
            ("labels", "micado.x=y\n"),
            ("files/notes.txt", "hello"),
        ]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .into(),
    }
}

/// A simulator of records, its client as the manager makes it, and the cluster of both.
struct World {
    simulator: Simulator,
    broker: CloudBroker,
    cluster: ClusterId,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(config: Config, rent: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let simulator = Simulator::start(Config {
            user: cloudbroker::USER.to_owned(),
            password: cloudbroker::PASSWORD.to_owned(),
            ..config
        })
        .await
        .expect("a simulator");
        let file = folder.path().join("cloudsetup.xml");
        let rented = Rented {
            rent,
            call_timeout: 1,
            ..Rented::records()
        };
        std::fs::write(&file, rented.xml(&simulator.url(), folder.path())).expect("cloudsetup.xml");
        let setup = CloudSetup::read(&file).expect("a good file");
        let broker = CloudBroker::all(&setup)
            .expect("a good account")
            .pop()
            .expect("one cloud");
        Self {
            simulator,
            broker,
            cluster: ClusterId::trusted("0123abcd"),
            _folder: folder,
        }
    }

    async fn listed(&self) -> Result<Option<Machine>, BrokerError> {
        Ok(self.broker.list(&self.cluster).await?.pop())
    }

    /// Orders as the manager does: an order with an unknown outcome is repeated only after a list
    /// that lacks it. True if it was refused.
    async fn order(&self, order: &Order) -> bool {
        for _ in 0..ATTEMPTS {
            match self.broker.launch(order).await {
                Ok(machine) => {
                    assert_eq!(machine.name, order.name);
                    return false;
                }
                Err(BrokerError::Refused(_)) => return true,
                Err(BrokerError::Unknown(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("the order is neither taken nor refused");
    }

    async fn give_back(&self, order: &Order) {
        wait("the machine is given back", 60, async || {
            self.broker.terminate(&order.name).await.ok()
        })
        .await;
    }

    /// Returns true if nothing is left at the broker, whatever the client believes.
    fn is_empty(&self) -> bool {
        self.simulator.jobs().is_empty() && self.simulator.machines_running().is_empty()
    }
}

const ATTEMPTS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_is_understood() {
    for rent in ["jobs", "instances"] {
        for (name, spelling) in spellings() {
            let world = World::new(
                Config {
                    spelling,
                    ..Config::default()
                },
                rent,
            )
            .await;
            let order = order(&world.cluster, 1);
            assert!(!world.order(&order).await, "{rent}, {name}: refused");
            let runs = async || {
                world
                    .listed()
                    .await
                    .ok()?
                    .filter(|it| it.state == MachineState::Running && it.address.is_some())
            };
            let machine = wait(
                &format!("{rent}, {name}: it runs and has an address"),
                10,
                runs,
            )
            .await;
            assert_eq!(
                (machine.name.as_str(), &machine.instance),
                (order.name.as_str(), &order.instance),
                "{rent}, {name}"
            );
            assert!(
                !world.order(&order).await,
                "{rent}, {name}: the same order again"
            );
            assert_eq!(
                world.simulator.booted_total(&order.name),
                1,
                "{rent}, {name}: machines"
            );
            world.give_back(&order).await;
            assert_eq!(world.listed().await, Ok(None), "{rent}, {name}");
            assert!(
                world.is_empty(),
                "{rent}, {name}: {:?}",
                world.simulator.machines_running()
            );
        }
    }
}

/// Replies with status 200 that do not confirm the file.
const NO_RECORD: [&str; 3] = [
    " ",
    "<html><body>Sign in</body></html>",
    "<data-file><name>notes.txt</name></data-file>",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_submitted_before_its_files_are_there() {
    let world = World::new(Config::default(), "jobs").await;
    for (number, body) in (1..).zip(NO_RECORD) {
        let rule = Rule::new(CallKind::Upload, Fault::BodyAt200(body.to_owned()));
        world.simulator.faults().add(rule);
        let order = order(&world.cluster, number);
        let before = world.simulator.calls().len();
        assert!(!world.order(&order).await, "{body}: refused");
        let calls: Vec<_> = world.simulator.calls()[before..]
            .iter()
            .filter(|call| matches!(call.kind, CallKind::Upload | CallKind::SubmitJob))
            .map(|call| (call.kind, call.status))
            .collect();
        let upload = |status| (CallKind::Upload, Some(status));
        assert_eq!(
            calls,
            [
                upload(200),
                upload(201),
                upload(201),
                (CallKind::SubmitJob, Some(200))
            ],
            "{body}"
        );
        world.give_back(&order).await;
    }
    let refusal = "<hash><errors><error>Too large</error></errors></hash>".to_owned();
    let rule = Rule::new(CallKind::Upload, Fault::BodyAt200(refusal));
    world.simulator.faults().add(rule);
    let refused = order(&world.cluster, 9);
    assert!(world.order(&refused).await, "a refused upload is a refusal");
    assert!(world.is_empty(), "{:?}", world.simulator.jobs());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_random_leak_nothing_and_double_nothing() {
    let seeds = std::env::var("MICADO_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS);
    futures_util::future::join_all((0..seeds).map(faulty_world)).await;
}

async fn faulty_world(seed: u64) {
    let rent = if seed.is_multiple_of(4) {
        "instances"
    } else {
        "jobs"
    };
    let world = World::new(
        Config {
            seed,
            fault_rate: 0.25,
            pace: Pace::every(Duration::from_millis(5)),
            ..Config::default()
        },
        rent,
    )
    .await;
    for number in 1..=3 {
        let order = order(&world.cluster, number);
        world.order(&order).await;
        assert!(
            world.simulator.booted_total(&order.name) <= 1,
            "seed {seed}: {order:?} twice"
        );
        world.give_back(&order).await;
        assert!(
            world.simulator.booted_total(&order.name) <= 1,
            "seed {seed}: {order:?} twice"
        );
    }
    assert!(
        world.is_empty(),
        "seed {seed}: {:?} {:?}",
        world.simulator.jobs(),
        world.simulator.machines_running()
    );
    assert!(
        !world.simulator.faults().happened().is_empty(),
        "seed {seed}: no fault happened"
    );
}
