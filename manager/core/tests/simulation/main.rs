//! The whole core in simulated worlds: a seeded engine, clouds, store and people on a virtual
//! clock, with every kind of fault.
//!
//! `SIM_SEED=n cargo test -p micado-core --test simulation` replays one seed with its whole trace;
//! `SIM_SEEDS`, `SIM_STEPS` and `SIM_AUDITED` change the amounts.

mod agents;
mod clock;
mod directed;
mod flight;
mod goal;
mod health;
mod invariants;
mod machine;
mod machines;
mod manager;
mod named;
mod people;
mod returning;
mod run;
mod scaling;
mod scenarios;
mod setup;
mod store;
mod swarm;
mod swarm_turns;
mod tally;
mod task;
mod trace;
mod trouble;
mod truth;
mod weather;
mod world;

use micado_core::control as core_under_test;

#[test]
fn every_seed_keeps_the_invariants_and_settles() {
    match run::number("SIM_SEED") {
        Some(seed) => run::replay(seed),
        None => run::many(),
    }
}
