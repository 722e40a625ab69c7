//! Use of containers is learned by image, offered to launches without a reservation, and shown.

use super::*;
use crate::{
    engine::swarm_name,
    metrics::{LEARN_AFTER, Placed, Used},
    store::{Change, Key, Record},
};
use micado_api::{ContainerName, Critical, ImageView, ServiceName, Unnamed};
use std::time::Duration;

const NOTHING: Unnamed = Unnamed {
    memory: true,
    cpu: true,
};

/// Launches without a given reservation; 256 MiB and 0.25 cores are the defaults sent.
fn launch(
    bench: &mut Bench,
    client: &str,
    pull: Option<&str>,
    unnamed: Unnamed,
) -> Result<(String, Resources), ErrorBody> {
    let launch = LaunchRequest {
        spec: spec(client, 256),
        publish_all: false,
        request: None,
        copies: std::num::NonZeroU32::MIN,
        unnamed,
    };
    let facts = ImageFacts {
        pull: pull.map(str::to_owned),
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    let (reply, _) = bench.ask(Request::Launch(Box::new(launch), facts));
    reply.map(|reply| match reply {
        Reply::Containers(views) => (views[0].name.to_string(), views[0].reservation),
        _ => unreachable!("a launch is answered with containers"),
    })
}

/// Name of its Swarm service.
fn swarm(name: &str) -> String {
    swarm_name(
        &ClusterId::trusted("test"),
        &ContainerName::trusted(name),
        1,
    )
}

fn used(name: &str, mib: u64, millis: u64) -> Used {
    Used {
        service: swarm(name).into(),
        measured_ms: LEARN_AFTER,
        memory_peak: MemoryBytes::mib(mib),
        cpu_peak: NanoCpus::millis(millis),
        killed_at: None,
    }
}

fn commits(actions: &[Action]) -> Vec<&Change> {
    let changes = actions.iter().filter_map(|action| {
        if let Action::Commit(changes) = action {
            Some(changes)
        } else {
            None
        }
    });
    changes.flatten().collect()
}

/// One running container of `web`.
fn running() -> Bench {
    let mut bench = Bench::new(|_| {});
    launch(&mut bench, "a", Some("web@sha256:1"), NOTHING).expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    bench
}

fn image(bench: &Bench) -> ImageView {
    let [image] = <[ImageView; 1]>::try_from(bench.core.images()).expect("one image");
    image
}

/// The report that containers used this.
fn learn(used: Vec<Used>) -> Event {
    Event::Request(0, Request::Learn(used))
}

#[test]
fn swarm_services_are_known_by_name() {
    let bench = running();
    let instance = &bench.core.instances(false)[0];
    let wanted = Placed {
        swarm_service: swarm("a_web.1"),
        container: ContainerName::trusted("a_web.1"),
        service: ServiceName::trusted("a_web"),
        image: "web".to_owned(),
        instance: instance.id.clone(),
        tag: instance.tag.clone(),
    };
    assert_eq!(bench.core.placed_copies(), [wanted]);
}

#[test]
fn what_was_learned_is_offered_to_who_names_nothing() {
    let mut bench = running();
    assert_eq!(bench.core.services()[0].learned, None);
    bench.event(learn(vec![used("a_web.1", 100, 100)]));
    let needs = Resources::new(MemoryBytes::mib(115), NanoCpus::millis(120));
    assert_eq!(
        (image(&bench).footprint, image(&bench).digest.as_deref()),
        (Some(needs), Some("sha256:1"))
    );
    assert_eq!(bench.core.services()[0].learned, Some(image(&bench)));
    let (name, promised) = launch(&mut bench, "b", Some("web@sha256:1"), NOTHING).expect("room");
    assert_eq!(promised, needs);
    let decisions = bench
        .core
        .explain(&name)
        .expect("it is there")
        .remove(0)
        .decisions;
    assert!(
        decisions[0]
            .text
            .contains("115 MiB and 0.12 cores: learned from what containers of `web` used"),
        "{decisions:?}"
    );
    let half = launch(
        &mut bench,
        "c",
        Some("web@sha256:1"),
        Unnamed {
            memory: false,
            cpu: true,
        },
    )
    .expect("room");
    assert_eq!(
        half.1,
        Resources::new(MemoryBytes::mib(256), NanoCpus::millis(120)),
        "what was named stays"
    );
    let named = launch(&mut bench, "d", Some("web@sha256:1"), Unnamed::default()).expect("room");
    assert_eq!(named.1, spec("d", 256).reservation);
}

#[test]
fn a_service_keeps_its_own_reservation_whatever_was_learned_since() {
    let mut bench = running();
    bench.event(learn(vec![used("a_web.1", 100, 100)]));
    let again = launch(&mut bench, "a", Some("web@sha256:2"), NOTHING).expect("the same settings");
    assert_eq!(again, ("a_web.2".to_owned(), spec("a", 256).reservation));
    assert_eq!(
        image(&bench).digest.as_deref(),
        Some("sha256:1"),
        "it pulls what it pulled"
    );
    let other = launch(&mut bench, "b", Some("web@sha256:2"), NOTHING).expect("room");
    assert_eq!(
        other.1.memory,
        MemoryBytes::mib(115),
        "of the digest before, until enough is known of the new one"
    );
    assert_eq!(
        (image(&bench).digest.as_deref(), image(&bench).measured_ms),
        (Some("sha256:2"), 0)
    );
}

#[test]
fn an_image_that_was_pushed_has_its_digest_then() {
    let mut bench = Bench::new(|_| {});
    launch(&mut bench, "a", None, NOTHING).expect("room can be rented");
    assert_eq!(image(&bench).digest, None);
    bench.machine_comes();
    let at = bench.core.services()[0].created_at;
    let key = CallKey::Image("a_web".parse().expect("a name"), at);
    bench.event(Event::Answered(
        key,
        Answer::Pushed(Ok(pushed("registry:2/web@sha256:7"))),
    ));
    assert_eq!(image(&bench).digest.as_deref(), Some("sha256:7"));
}

#[test]
fn what_fits_no_machine_is_not_offered() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 1800), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    bench.event(learn(vec![used("a_web.1", 1800, 100)]));
    let (name, promised) =
        launch(&mut bench, "b", Some("web@sha256:1"), NOTHING).expect("what was sent fits");
    assert_eq!(promised, spec("b", 256).reservation);
    let text = bench
        .core
        .explain(&name)
        .expect("it is there")
        .remove(0)
        .decisions
        .remove(0)
        .text;
    assert!(text.contains("which no machine could hold"), "{text}");
    let spec = ServiceSpec {
        reservation: Resources::new(MemoryBytes::mib(9000), NanoCpus::millis(250)),
        ..spec("c", 0)
    };
    let launch = LaunchRequest {
        spec,
        publish_all: false,
        request: None,
        copies: std::num::NonZeroU32::MIN,
        unnamed: NOTHING,
    };
    let (reply, _) = bench.ask(Request::Launch(
        Box::new(launch),
        ImageFacts {
            pull: Some("web@sha256:1".to_owned()),
            exposed: Vec::new(),
            platforms: std::collections::BTreeSet::new(),
        },
    ));
    let error = reply.expect_err("neither fits");
    assert_eq!(error.code, ErrorCode::Unsatisfiable);
    assert!(
        error
            .hint
            .as_deref()
            .is_some_and(|hint| hint.contains("was learned") && hint.contains("--memory")),
        "{error:?}"
    );
}

#[test]
fn no_agent_teaches_more_than_a_container_can_use() {
    let mut bench = running();
    let cores = bench.core.instances(false)[0].capacity.cpu;
    bench.event(learn(vec![used("a_web.1", 1 << 30, 1 << 30)]));
    let footprint = image(&bench).footprint.expect("enough was measured");
    assert_eq!(footprint.memory, MemoryBytes::mib(295), "256 MiB and 15 %");
    assert_eq!(footprint.cpu, NanoCpus(cores.0 / 100 * 115));
    let killed = Used {
        killed_at: Some(MemoryBytes::mib(1 << 30)),
        ..used("a_web.1", 1, 1)
    };
    bench.event(learn(vec![killed]));
    let footprint = image(&bench).footprint.expect("enough was measured");
    assert_eq!(footprint.memory, MemoryBytes::mib(368), "of 256 + 64 MiB");
}

#[test]
fn use_counts_by_the_present_records_of_its_copy() {
    let mut bench = running();
    let report = |bench: &mut Bench| bench.event(learn(vec![used("a_web.1", 1 << 30, 1)]));
    report(&mut bench);
    let ledger = &mut bench.core.ledger;
    let (name, service) = (
        ContainerName::trusted("a_web.1"),
        ServiceName::trusted("a_web"),
    );
    ledger.edit_container(&name, |it| {
        it.copies[0].reservation.memory = MemoryBytes::mib(512);
    });
    ledger.edit_service(&service, |it| it.pull = Some("web@sha256:2".to_owned()));
    report(&mut bench);
    let image = bench.core.ledger.images.get("web").expect("it runs");
    let peak = |digest| image.learned_of(digest).map(|it| it.windows[0].memory);
    assert_eq!(peak("sha256:1"), Some(MemoryBytes::mib(256)));
    assert_eq!(peak("sha256:2"), Some(MemoryBytes::mib(512)));
}

#[test]
fn little_is_written_and_nothing_is_forgotten() {
    let mut bench = running();
    let short = |mib, measured_ms| {
        learn(vec![Used {
            measured_ms,
            ..used("a_web.1", mib, 100)
        }])
    };
    assert_eq!(
        commits(&bench.event(short(100, 10_000))).len(),
        1,
        "the first of the hour"
    );
    let mut written = 0;
    for _ in 0..59 {
        written += commits(&bench.event(short(101, 10_000))).len();
    }
    assert_eq!(
        (written, image(&bench).measured_ms),
        (1, LEARN_AFTER),
        "it is enough"
    );
    assert!(commits(&bench.event(short(101, 10_000))).is_empty());
    assert_eq!(
        image(&bench).measured_ms,
        LEARN_AFTER + 10_000,
        "shown and not written"
    );
    let actions = bench.event(short(110, 10_000));
    let [
        Change {
            key: Key::Image(name),
            record: Some(Record::Image(record)),
            ..
        },
    ] = commits(&actions)[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (name.as_str(), record.learned[0].measured_ms),
        ("web", LEARN_AFTER + 20_000)
    );
}

#[test]
fn what_is_of_nobody_teaches_nothing() {
    let mut bench = running();
    let stranger = Used {
        service: "c-other".into(),
        ..used("a_web.1", 400, 400)
    };
    assert!(commits(&bench.event(learn(vec![stranger]))).is_empty());
    assert_eq!(image(&bench).footprint, None);
}

#[test]
fn critical_usage_is_said_by_people() {
    let mut bench = running();
    let critical = Critical {
        memory: Some(MemoryBytes::mib(200)),
        cpu: None,
    };
    let set = |image: &str| Request::SetImage {
        image: image.to_owned(),
        critical,
    };
    let error = bench.ask(set("wbe")).0.expect_err("no such image");
    assert_eq!(
        (error.code, error.hint.is_some()),
        (ErrorCode::NotFound, true)
    );
    for _ in 0..2 {
        let Ok(Reply::Image(view)) = bench.ask(set("web")).0 else {
            panic!("it was launched")
        };
        assert_eq!((view.critical, *view), (critical, image(&bench)));
    }
    assert_eq!(
        bench.core.services()[0]
            .learned
            .as_ref()
            .map(|it| it.critical),
        Some(critical)
    );
}

#[test]
fn a_built_image_is_recorded_and_changes_nothing_that_runs() {
    let mut bench = running();
    let service = bench.core.service("a_web").expect("it runs");
    let built = |image: &str, pull: &str| Request::ImageBuilt {
        image: image.to_owned(),
        pull: pull.to_owned(),
    };
    let Ok(Reply::Image(view)) = bench.ask(built("web", "r:1/web@sha256:22")).0 else {
        panic!("it is recorded")
    };
    assert_eq!(view.digest.as_deref(), Some("sha256:22"));
    assert_eq!(bench.core.service("a_web").expect("it runs"), service);
    assert!(
        bench
            .ask(built("container-new", "r:1/x@sha256:33"))
            .0
            .is_ok()
    );
    let names: Vec<_> = bench.core.images().into_iter().map(|it| it.image).collect();
    assert_eq!(names, ["container-new", "web"]);
}

#[test]
fn an_image_that_nobody_used_for_long_is_forgotten_unless_somebody_said_something_of_it() {
    for (critical, left) in [
        (Critical::default(), 0),
        (
            Critical {
                memory: Some(MemoryBytes::mib(1)),
                cpu: None,
            },
            1,
        ),
    ] {
        let mut bench = running();
        assert!(
            bench
                .ask(Request::SetImage {
                    image: "web".to_owned(),
                    critical
                })
                .0
                .is_ok()
        );
        bench.now = bench.now.plus(Duration::from_secs(100 * 24 * 3600));
        bench.tick();
        assert_eq!(bench.core.images().len(), 1, "a service runs it");
        assert!(
            bench
                .ask(Request::Quit {
                    name: "a_web".to_owned(),
                    remove: true
                })
                .0
                .is_ok()
        );
        bench.settle();
        for _ in 0..3 {
            bench.now = bench.now.plus(Duration::from_secs(3600));
            bench.tick();
        }
        assert_eq!(bench.core.images().len(), left);
    }
}

#[test]
fn services_with_containers_need_their_images() {
    let mut bench = running();
    let needs = bench.core.image_needs();
    let [need] = &needs[..] else {
        panic!("{needs:?}")
    };
    assert_eq!(
        (need.service.as_str(), need.image.as_str()),
        ("a_web", "web")
    );
    assert_eq!(need.pull.as_deref(), Some("web@sha256:1"));
    let forget = || Request::ForgetImage {
        image: "web".to_owned(),
    };
    assert_eq!(bench.ask(forget()).0, Ok(Reply::Recorded));
    assert_eq!(bench.core.images().len(), 1, "a service runs it");
    let quit = Request::Quit {
        name: "a_web".to_owned(),
        remove: true,
    };
    assert!(bench.ask(quit).0.is_ok());
    assert_eq!(bench.core.image_needs(), []);
    assert_eq!(bench.ask(forget()).0, Ok(Reply::Recorded));
    assert_eq!(bench.core.images(), []);
}

#[test]
fn a_pushed_image_is_known_by_its_id() {
    let mut bench = Bench::new(|_| {});
    launch(&mut bench, "a", None, NOTHING).expect("room can be rented");
    bench.machine_comes();
    let needs = bench.core.image_needs();
    assert_eq!((&needs[0].pull, &needs[0].image_id), (&None, &None));
    let at = bench.core.services()[0].created_at;
    let key = CallKey::Image("a_web".parse().expect("a name"), at);
    bench.event(Event::Answered(
        key,
        Answer::Pushed(Ok(pushed("registry:2/web@sha256:7"))),
    ));
    let needs = bench.core.image_needs();
    assert_eq!(needs[0].image_id.as_deref(), Some("sha256:1d"));
}
