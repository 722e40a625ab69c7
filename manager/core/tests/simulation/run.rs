//! Runs seeds: many at once without a trace, or one with its trace.

use crate::{goal, invariants::Broken, tally::Tally, trace::Trace, world::World};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const SEEDS: u64 = 500;
const STEPS: u64 = 2_000;

/// One seed in so many compares the core with a full pass after each event, which takes most of the
/// time. `SIM_AUDITED=1` does it for all; a replayed seed always does.
const AUDITED: u64 = 4;

/// Upper bound for a world to settle after all faults have ended, and the time that it must stay
/// unchanged then; in milliseconds.
const SETTLES_WITHIN: u64 = 60 * 60_000;
pub const STILL_FOR: u64 = 10 * 60_000;

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")),
    )
}

/// Runs all seeds on all cores; fails with the lowest failing one.
pub fn many() {
    let (seeds, steps) = (
        number("SIM_SEEDS").unwrap_or(SEEDS),
        number("SIM_STEPS").unwrap_or(STEPS),
    );
    let audited = number("SIM_AUDITED").unwrap_or(AUDITED).max(1);
    let (next, failures, total) = (
        AtomicU64::new(0),
        Mutex::new(BTreeMap::new()),
        Mutex::new(Tally::default()),
    );
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let mut world = World::drawn(seed, Trace::default());
                    world.audits = seed.is_multiple_of(audited);
                    if let Err(broken) = live(&mut world, steps) {
                        failures
                            .lock()
                            .expect("no thread panics with it")
                            .insert(seed, broken);
                    }
                    total
                        .lock()
                        .expect("no thread panics with it")
                        .add(&world.tally);
                }
            });
        }
    });
    let total = total.into_inner().expect("no thread panics with it");
    println!(
        "{seeds} seeds in {:.1} s: {total:?}",
        began.elapsed().as_secs_f64()
    );
    let failures = failures.into_inner().expect("no thread panics with it");
    if let Some((seed, _)) = failures.first_key_value() {
        fail(*seed, steps, seeds, &failures);
    }
    assert!(
        seeds < 100 || total.missing().is_empty(),
        "never happened: {:?}",
        total.missing()
    );
}

/// One seed with its whole trace.
pub fn replay(seed: u64) {
    let mut world = World::drawn(seed, Trace::kept());
    let lived = live(&mut world, number("SIM_STEPS").unwrap_or(STEPS));
    println!(
        "{:?}\nlimits {:?} {:?}",
        world.weather, world.config.max_instances, world.config.max_price
    );
    world
        .trace
        .lines()
        .iter()
        .for_each(|line| println!("{line}"));
    if let Err(broken) = lived {
        panic!("seed {seed}: {}: {}", broken.invariant, broken.what);
    }
}

fn fail(seed: u64, steps: u64, seeds: u64, failures: &BTreeMap<u64, Broken>) -> ! {
    let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, broken) in failures {
        kinds.entry(broken.invariant).or_default().push(*seed);
    }
    for (invariant, seeds) in kinds {
        println!(
            "{invariant}: {} seeds, {:?}",
            seeds.len(),
            &seeds[..seeds.len().min(8)]
        );
        for seed in seeds.iter().take(4) {
            println!(
                "    {seed}: {}",
                failures.get(seed).map_or("", |it| &it.what)
            );
        }
    }
    let mut world = World::drawn(seed, Trace::kept());
    let again = live(&mut world, steps).err();
    let lines = world.trace.lines();
    lines[lines.len().saturating_sub(50)..]
        .iter()
        .for_each(|line| println!("{line}"));
    let broken = again.map_or_else(
        || "it did not fail again: something is not deterministic".to_owned(),
        |it| format!("{}: {}", it.invariant, it.what),
    );
    let amount = if steps == STEPS {
        String::new()
    } else {
        format!("SIM_STEPS={steps} ")
    };
    panic!(
        "{} of {seeds} seeds failed\n{broken}\n{amount}SIM_SEED={seed} cargo test -p micado-core --test simulation",
        failures.len()
    );
}

/// Runs a world with all its faults for this many steps, and then without faults until it has
/// settled. A panic of the core is a failure like others.
fn live(world: &mut World, steps: u64) -> Result<(), Broken> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step()?;
        }
        world.clear_up();
        settle(world)
    }));
    lived.unwrap_or_else(|_| {
        Err(Broken {
            invariant: "no_panic",
            what: "the core panicked".to_owned(),
        })
    })
}

/// Advances until nothing has changed for a while and the goal is reached.
pub fn settle(world: &mut World) -> Result<(), Broken> {
    let began = world.clock.now;
    world.manager.last_moved = began;
    loop {
        world.step()?;
        let still = world.clock.now - world.manager.last_moved >= STILL_FOR;
        let over = world.clock.now - began > SETTLES_WITHIN + STILL_FOR;
        if !still && !over {
            continue;
        }
        if let Err(what) = goal::reached(world) {
            return Err(Broken {
                invariant: "settles",
                what,
            });
        }
        if over {
            return Err(Broken {
                invariant: "stands_still",
                what: "all is as it should be, and the core goes on and on".to_owned(),
            });
        }
        world.tally.ran += world
            .store
            .containers()
            .filter(|it| it.wants_room() && it.primary().is_some())
            .count() as u64;
        return Ok(());
    }
}

/// Advances until the condition holds, for at most this many virtual seconds.
pub fn until(world: &mut World, seconds: u64, so: impl Fn(&World) -> bool) -> Result<(), Broken> {
    let deadline = world.clock.now + seconds * 1000;
    while !so(world) {
        world.step()?;
        if world.clock.now > deadline {
            return Err(Broken {
                invariant: "until",
                what: format!("not so after {seconds} s"),
            });
        }
    }
    Ok(())
}
