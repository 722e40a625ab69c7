//! Returns of machines event by event: hold, drain, cancellation and reasons.

use super::*;
use crate::{
    control::{
        Answer, CallKey, Event, Request,
        tests::{Bench, machine, node, spec, start},
    },
    model::Setting,
    store::{Change, Contents, Record},
};
use micado_api::{
    Explanation, InstanceView,
    agent::{ContainerEvent, ContainerHappening},
};
use micado_cloudsetup::{BrokerError, MachineState};

fn view(bench: &Bench, tag: &str) -> InstanceView {
    let all = bench.core.instances(true);
    let found = all.into_iter().find(|it| it.tag.as_str() == tag);
    found.expect("it is listed")
}

fn kept(bench: &Bench, tag: &str) -> String {
    let kept = view(bench, tag).returns.expect("it is in use");
    kept.detail["kept"].as_str().expect("a word").to_owned()
}

fn state(bench: &Bench, tag: &str) -> InstanceState {
    view(bench, tag).state
}

fn explained(bench: &Bench, tag: &str) -> Explanation {
    bench.core.explain(tag).expect("it is known").remove(0)
}

/// A bench with one machine of the smaller flavour, on which one container runs. It has joined
/// within seconds.
fn one_machine() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 64), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    assert_eq!(bench.state("a_web.1"), "running");
    // The cloud is listed twice.
    bench.pass(30);
    bench
}

/// A machine that was ordered has joined.
fn comes(bench: &mut Bench, tag: &str) {
    let id = view(bench, tag).id;
    let machine = machine(&id, MachineState::Running);
    bench.machines.push(machine.clone());
    let key = CallKey::Machine(id.clone());
    bench.event(Event::Answered(key, Answer::Launched(Ok(machine))));
    bench.seen.nodes.push(node(&id));
    bench.settle();
}

/// A bench with two machines: one container on the first, the second with none that remains.
fn two_machines() -> Bench {
    let mut bench = one_machine();
    bench
        .ask(Request::Start(start("second")))
        .0
        .expect("rented");
    comes(&mut bench, "second");
    bench
}

#[test]
fn an_empty_machine_is_returned_after_its_hold() {
    let mut bench = one_machine();
    bench.quit("a_web.1");
    let emptied = bench.now;
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
    bench.pass(40);
    assert_eq!(kept(&bench, "application01"), "held");
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
    bench.pass(40);
    let after = bench.now.since(emptied).as_secs();
    assert!((60..120).contains(&after), "after {after} s");
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);
    let said = explained(&bench, "application01").decisions;
    let text = &said.last().expect("a decision").text;
    assert!(text.contains("is returned: not needed for"), "{text}");
}

/// An empty machine with 1 % of the location's price is returned: no container moves for that.
#[test]
fn an_empty_machine_is_returned_however_cheap_it_is() {
    let mut bench = Bench::new(|config| {
        for cloud in &mut config.setup.clouds {
            cloud.flavours[1].price.0 *= 20;
        }
    });
    for client in ["a", "b", "c"] {
        // The first is on a small machine, the others on a large one each.
        let mib = if client == "a" { 64 } else { 1_500 };
        bench
            .launch(spec(client, mib), None)
            .expect("room is rented");
        bench.machine_comes();
        bench.settle();
    }
    bench.quit("a_web.1");
    bench.pass(120);
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);
    for tag in ["application02", "application03"] {
        assert_eq!(state(&bench, tag), InstanceState::Active);
    }
}

/// State of a machine that took 100 s to boot, 80 s after its container ended. Some time before,
/// a shrink took a container whose load was gone for four minutes.
fn held_after_a_shrink(later: u64) -> InstanceState {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 64), None).expect("room is rented");
    bench.now.0 += 100_000;
    bench.machine_comes();
    bench.settle();
    bench.pass(300);
    let name = ContainerName::trusted("a_web.1");
    let gone = Timestamp(bench.now.0 - 240_000);
    bench.core.shed(&[name], gone);
    bench.pass(later);
    bench.quit("a_web.1");
    bench.pass(30);
    assert_eq!(kept(&bench, "application01"), "held", "a minute at least");
    bench.pass(50);
    state(&bench, "application01")
}

#[test]
fn the_look_back_of_a_shrink_is_a_part_of_the_hold() {
    assert_eq!(held_after_a_shrink(0), InstanceState::Stopping);
    // It was needed until then.
    assert_eq!(held_after_a_shrink(120), InstanceState::Active);
}

/// A hold of less than a minute is one of a minute.
#[test]
fn zero_hold_flaps() {
    let mut bench = Bench::new(|config| config.hold = Duration::ZERO);
    bench.launch(spec("a", 64), None).expect("room is rented");
    let id = bench.machine_comes();
    let instance = bench.core.ledger.instance(&id).expect("a record");
    assert_eq!(bench.core.hold_of(instance).as_secs(), 60);
}

#[test]
fn nothing_is_returned_if_that_is_off() {
    let mut bench = Bench::new(|config| config.return_machines = false);
    bench.launch(spec("a", 64), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    bench.quit("a_web.1");
    bench.pass(600);
    assert_eq!(kept(&bench, "application01"), "off");
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
}

#[test]
fn a_machine_that_a_person_started_stays_until_it_has_been_used() {
    let mut bench = two_machines();
    // Otherwise its container goes to the second, which is used then.
    protect(&mut bench, "a_web.1", true);
    bench.pass(600);
    assert_eq!(kept(&bench, "second"), "unused");
    assert_eq!(state(&bench, "second"), InstanceState::Active);
}

#[test]
fn a_gap_in_what_is_seen_begins_the_hold_anew() {
    let mut bench = one_machine();
    bench.quit("a_web.1");
    bench.pass(50);
    bench.event(Event::Blind("it does not answer".to_owned()));
    bench.now.0 += 600_000;
    bench.look();
    assert_eq!(kept(&bench, "application01"), "unsure");
    bench.pass(50);
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
    bench.pass(70);
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);
}

#[test]
fn a_volume_keeps_its_machine_and_is_named() {
    let mut bench = Bench::new(|_| {});
    let mut keeper = spec("a", 64);
    keeper.volumes.push(micado_api::VolumeMount {
        name: "data".to_owned(),
        path: "/data".to_owned(),
        shared: false,
    });
    bench.launch(keeper, None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    let stop = Request::Quit {
        name: "a_web.1".to_owned(),
        remove: false,
    };
    bench.ask(stop).0.expect("it is there");
    bench.settle();
    bench.pass(600);
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
    let now = explained(&bench, "application01").now;
    assert!(
        now.ends_with("not returned: the volume of a_web.1 is there"),
        "{now}"
    );
}

/// Two machines with one container each, where one machine would do: `a_web.1` on the first,
/// `b_web.1` on the second.
fn too_many() -> Bench {
    let mut bench = two_machines();
    // The first has no room for this one.
    bench.launch(spec("big", 280), None).expect("room is there");
    bench.launch(spec("b", 64), None).expect("room is there");
    bench.settle();
    bench
}

fn place(bench: &Bench, name: &str) -> String {
    let all = bench.core.containers(true);
    let found = all.iter().find(|it| it.name.as_str() == name);
    let place = found.and_then(|it| it.instance.as_ref());
    place.expect("a place").to_string()
}

#[test]
fn a_machine_whose_containers_fit_elsewhere_is_emptied_and_returned() {
    let mut bench = too_many();
    bench.quit("big_web.1");
    bench.pass(200);
    let all = bench.core.instances(true);
    let active: Vec<_> = all
        .iter()
        .filter(|it| it.state == InstanceState::Active)
        .collect();
    assert_eq!(active.len(), 1, "{all:?}");
    for name in ["a_web.1", "b_web.1"] {
        assert_eq!(bench.state(name), "running");
        assert_eq!(place(&bench, name), active[0].tag.to_string());
    }
}

/// A bench in which the manager has just begun to drain a machine with one container, and its tag.
fn drained() -> (Bench, String) {
    let mut bench = too_many();
    bench.quit("big_web.1");
    for _ in 0..40 {
        let all = bench.core.instances(false);
        if let Some(drained) = all.iter().find(|it| it.state == InstanceState::Draining) {
            let tag = drained.tag.to_string();
            bench.look();
            return (bench, tag);
        }
        bench.now.0 += 4_000;
        bench.tick();
    }
    panic!("nothing is drained: {:?}", bench.core.instances(false));
}

#[test]
fn a_launch_that_needs_the_room_takes_a_draining_machine_back_and_rents_none() {
    let (mut bench, drained) = drained();
    let machines = bench.core.instances(false).len();
    // The copies of the move take the other one's room.
    let name = bench.launch(spec("big", 280), None).expect("room is there");
    assert_eq!(place(&bench, &name), drained);
    assert_eq!(state(&bench, &drained), InstanceState::Active);
    assert_eq!(bench.core.instances(false).len(), machines);
    let text = format!("{drained} is in use again: its room is needed for {name}");
    let said = explained(&bench, &drained).decisions;
    assert!(said.iter().any(|it| it.text == text), "{said:?}");
}

#[test]
fn an_old_copy_stays_until_the_new_one_has_run_for_a_while() {
    let (mut bench, drained) = drained();
    bench.settle();
    let copies = |bench: &Bench| bench.seen.services.len();
    assert_eq!(copies(&bench), 3, "one of the two has two copies");
    bench.pass(10);
    assert_eq!(copies(&bench), 3);
    assert_eq!(state(&bench, &drained), InstanceState::Draining);
    bench.pass(50);
    assert_eq!(copies(&bench), 2);
    assert_eq!(state(&bench, &drained), InstanceState::Stopping);
}

#[test]
fn a_drain_is_cancelled_at_its_deadline_and_its_machine_left_alone() {
    let (mut bench, drained) = drained();
    // The new copy never runs: nothing is settled.
    for _ in 0..70 {
        bench.now.0 += 8_000;
        bench.tick();
    }
    assert_eq!(state(&bench, &drained), InstanceState::Active);
    assert_eq!(kept(&bench, &drained), "rests");
    let said = explained(&bench, &drained).decisions;
    let text = format!(
        "{drained} is in use again: not all had moved after 10 min; it is left alone for 30 min"
    );
    assert!(said.iter().any(|it| it.text == text), "{said:?}");
    bench.settle();
    bench.pass(300);
    let words = "what was half moved has moved on, and the machine fell empty";
    assert_eq!(state(&bench, &drained), InstanceState::Stopping, "{words}");
}

fn protect(bench: &mut Bench, name: &str, protected: bool) {
    let request = Request::Protect {
        name: name.to_owned(),
        protected,
    };
    bench.ask(request).0.expect("it is known");
}

#[test]
fn what_is_protected_stays() {
    let mut bench = one_machine();
    bench.quit("a_web.1");
    protect(&mut bench, "application01", true);
    bench.pass(300);
    assert_eq!(kept(&bench, "application01"), "protected");
    protect(&mut bench, "application01", false);
    bench.pass(100);
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);

    let mut bench = too_many();
    bench.quit("big_web.1");
    for name in ["a_web", "b_web.1"] {
        protect(&mut bench, name, true);
    }
    bench.pass(300);
    assert_eq!(kept(&bench, "application01"), "container");
    assert_eq!(kept(&bench, "second"), "container");
    let missing = bench.ask(Request::Protect {
        name: "nobody".to_owned(),
        protected: true,
    });
    assert!(missing.0.is_err());
}

#[test]
fn a_location_keeps_its_minimum() {
    let mut bench = two_machines();
    bench.launch(spec("big", 280), None).expect("room is there");
    bench.launch(spec("b", 64), None).expect("room is there");
    bench.settle();
    for name in ["a_web.1", "big_web.1", "b_web.1"] {
        bench.quit(name);
    }
    bench.core.config.setup.locations = vec![micado_cloudsetup::Bounds {
        location: Location::default(),
        min_machines: 1,
        max_machines: None,
        max_price: None,
        headroom: None,
    }];
    bench.pass(600);
    let all = bench.core.instances(false);
    let active = all.iter().filter(|it| it.state == InstanceState::Active);
    let [left] = active.collect::<Vec<_>>()[..] else {
        panic!("one stays: {all:?}");
    };
    assert_eq!(kept(&bench, left.tag.as_str()), "minimum");
    let now = explained(&bench, left.tag.as_str()).now;
    assert!(
        now.ends_with("not returned: not needed; the minimum of its location is 1"),
        "{now}"
    );
}

#[test]
fn a_machine_that_is_paid_for_stays_until_shortly_before_the_end_of_its_hour() {
    let mut bench = Bench::new(|config| {
        let flavours = &mut config.setup.clouds[0].flavours;
        flavours
            .iter_mut()
            .for_each(|it| it.billing = micado_cloudsetup::Billing::Hour);
    });
    bench.launch(spec("a", 64), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    let created = view(&bench, "application01").created_at;
    bench.quit("a_web.1");
    bench.pass(600);
    assert_eq!(kept(&bench, "application01"), "paid");
    for _ in 0..500 {
        if state(&bench, "application01") != InstanceState::Active {
            break;
        }
        bench.pass(5);
    }
    let after = bench.now.since(created).as_secs();
    assert!((3540..3600).contains(&after), "after {after} s");
}

#[test]
fn nothing_is_returned_while_a_location_is_sick() {
    let mut bench = two_machines();
    bench.launch(spec("big", 280), None).expect("room is there");
    bench.launch(spec("b", 64), None).expect("room is there");
    bench.settle();
    for name in ["b_web.1", "big_web.1"] {
        bench.quit(name);
    }
    bench.ask(Request::Start(start("third"))).0.expect("rented");
    comes(&mut bench, "third");
    // The third machine dies.
    let third = view(&bench, "third").id;
    bench.machines.retain(|it| it.instance != third);
    bench.machines.push(machine(&third, MachineState::Dead));
    bench.pass(120);
    assert_eq!(state(&bench, "third"), InstanceState::Failed);
    assert_eq!(kept(&bench, "second"), "sick");
    let now = explained(&bench, "second").now;
    assert!(now.contains("a machine of its location was lost"), "{now}");
    bench
        .seen
        .nodes
        .retain(|it| it.instance.as_ref() != Some(&third));
    bench.pass(400);
    assert_eq!(state(&bench, "second"), InstanceState::Stopping);
}

/// The state of a machine whose only container fits elsewhere, minutes later. Its process ends every
/// 16 s, or never, and the Swarm starts it again before anybody looks.
fn after_minutes(crashes: bool) -> InstanceState {
    let mut bench = two_machines();
    bench.launch(spec("big", 280), None).expect("room is there");
    bench.launch(spec("b", 64), None).expect("room is there");
    bench.settle();
    bench.quit("big_web.1");
    let id = view(&bench, "second").id;
    let name = ContainerName::trusted("b_web.1");
    let container = bench.core.ledger.container(&name).expect("a record");
    let copy = container.primary().expect("it is placed").clone();
    assert_eq!(copy.instance, id);
    for round in 0..20 {
        bench.pass(16);
        if crashes {
            let died = ContainerEvent {
                id: format!("run{round}"),
                service: Some(copy.swarm_name.clone()),
                at: bench.now,
                what: ContainerHappening::Died {
                    exit_code: 1,
                    oom: false,
                },
            };
            bench.event(Event::Happened(id.clone(), died));
        }
    }
    state(&bench, "second")
}

#[test]
fn restart_looks_empty() {
    assert_eq!(after_minutes(true), InstanceState::Active);
    assert_ne!(after_minutes(false), InstanceState::Active);
}

/// The records of a bench's core, as a store would hold them.
fn contents(changes: &[Change]) -> Contents {
    let records = changes.iter().filter_map(|it| it.record.clone());
    records.map(|record| (record, 1)).collect()
}

#[test]
fn lead_times_are_learned_and_read_again() {
    let lead = |bench: &Bench| {
        let id = bench.core.instances(false)[0].id.clone();
        let instance = bench.core.ledger.instance(&id).expect("a record");
        bench.core.hold_of(instance)
    };
    let mut slow = Bench::new(|_| {});
    slow.launch(spec("a", 64), None).expect("room is rented");
    assert_eq!(lead(&slow).as_secs(), 90, "before anything is known");
    slow.now.0 += 100_000;
    slow.machine_comes();
    let learned = lead(&slow);
    assert!((101..115).contains(&learned.as_secs()), "{learned:?}");
    let settings = slow.core.ledger.settings.values();
    let setting: Vec<&Setting> = settings.filter(|it| it.name.starts_with("lead:")).collect();
    assert_eq!(setting.len(), 1);
    assert_eq!(setting[0].name, "lead:near/small");
    let change = Change {
        key: crate::store::Key::Setting(setting[0].name.clone()),
        expected: 0,
        record: Some(Record::Setting(setting[0].clone())),
    };
    let config = slow.core.config.clone();
    let again = Bench::of(config, contents(&[change]));
    let boot = again.core.boot_for(spec("a", 64).reservation);
    assert_eq!(boot.0 / 1_000, learned.as_secs());
    let unknown = again.core.boot_for(spec("a", 9_000).reservation);
    assert_eq!(unknown.0, 90_000, "no flavour holds it");
}

/// A bench whose only machine is empty, and whose broker has refused to take it back.
fn refused_return() -> Bench {
    let mut bench = one_machine();
    bench.quit("a_web.1");
    while state(&bench, "application01") == InstanceState::Active {
        bench.pass(10);
    }
    let id = view(&bench, "application01").id;
    let refused = BrokerError::Refused("it is locked".to_owned());
    let key = CallKey::Machine(id);
    bench.event(Event::Answered(key, Answer::Terminated(Err(refused))));
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);
    bench
}

/// It is paid for, so it takes work again.
#[test]
fn a_machine_whose_return_is_refused_is_used_again() {
    let mut bench = refused_return();
    bench.launch(spec("b", 64), None).expect("room is there");
    bench.settle();
    assert_eq!(state(&bench, "application01"), InstanceState::Active);
    assert_eq!(bench.core.instances(false).len(), 1, "nothing is rented");
    assert_eq!(bench.state("b_web.1"), "running");
}

#[test]
fn a_person_who_stops_a_machine_whose_return_is_refused_does_not_get_it_back() {
    let mut bench = refused_return();
    let tag = view(&bench, "application01").tag;
    let stop = Request::Stop { tag, force: false };
    bench.ask(stop).0.expect("nothing runs there");
    bench.launch(spec("b", 64), None).expect("room is rented");
    bench.settle();
    assert_eq!(state(&bench, "application01"), InstanceState::Stopping);
    assert_eq!(bench.core.instances(false).len(), 2, "another is rented");
}

#[test]
fn a_job_keeps_its_machine_until_it_has_ended() {
    let mut bench = two_machines();
    bench.launch(spec("big", 280), None).expect("room is there");
    let mut job = spec("b", 64);
    job.restart = micado_api::RestartPolicy::No;
    bench.launch(job, None).expect("room is there");
    bench.settle();
    let tag = place(&bench, "b_web.1");
    bench.quit("big_web.1");
    protect(&mut bench, "a_web.1", true);
    bench.pass(300);
    assert_eq!(kept(&bench, &tag), "job");
    assert_eq!(place(&bench, "b_web.1"), tag);
}
