//! End-to-end tests: one module a subject. All are one program, which is linked once.

mod adopt;
mod agents;
mod build;
mod cloud_trouble;
mod cloudbroker;
mod cloudbroker_wire;
mod copy;
mod crash;
mod dead;
mod discovery;
mod drift;
mod engine_restart;
mod fault_matrix;
mod figures;
mod grow;
mod leader;
mod lives;
mod mongodb;
mod monitoring;
mod moves;
mod options;
mod poser;
mod refusals;
mod returns;
mod scaling;
mod sessions;
