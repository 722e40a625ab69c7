//! CPU time of one sweep: over 100 cgroups of the kernel's own (made empty here, where this may be done), and over 100 recorded ones.

use micado_node_agent::sampler::{Sampler, files::Kernel};
use rustix::{fd::BorrowedFd, time::{ClockId, clock_gettime}};
use std::{hint::black_box, path::Path, time::Duration};

const CONTAINERS: usize = 100;
const SWEEPS: u32 = 200;

fn main() {
    println!("real: {}", "see below");
}
