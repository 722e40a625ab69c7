//! Figures of the shapes, and what must hold of every run.

use super::*;

/// Prints the table of the shapes: `cargo test -p micado-core --lib table -- --nocapture`.
#[test]
fn table() {
    let boots: Vec<u64> = std::env::var("BOOTS").map_or(vec![90], |text| {
        text.split(',')
            .map(|one| one.parse().expect("seconds"))
            .collect()
    });
    for boot in boots {
        let mut sums = [0.0; 4];
        for name in SIX.into_iter().chain(["bursts"]) {
            let mut all = [0.0; 9];
            let began = std::time::Instant::now();
            for seed in 1..=3 {
                let mut options = Options {
                    boot: crate::scaling::Span::seconds(boot),
                    ..Options::default()
                };
                if let Ok(seconds) = std::env::var("WARM") {
                    options.warm_up = crate::scaling::Span::seconds(seconds.parse().expect(""))
                }
                if let Ok(seconds) = std::env::var("FRAME") {
                    options.frame = crate::scaling::Span::seconds(seconds.parse().expect(""))
                }
                if let Ok(count) = std::env::var("LEAST") {
                    options.least_machines = count.parse().expect("")
                }
                let demand = name.parse::<Shape>().expect("a shape").demand(seed);
                let best = bounds(&demand, &options);
                let ours = run_ours(&demand, &options, best.optimum)
                    .expect("policies")
                    .report;
                let peer = run_peer(&demand, &options, best.optimum).report;
                for (sum, value) in all.iter_mut().zip([
                    peer.relative,
                    peer.missed_percent,
                    peer.priced_relative,
                    ours.relative,
                    ours.missed_percent,
                    ours.priced_relative,
                    f64::from(ours.starts),
                    f64::from(peer.starts),
                    best.bound / best.optimum,
                ]) {
                    *sum += value / 3.0;
                }
            }
            let [a, b, c, d, e, f, g, h, i] = all;
            println!(
                "{boot:>4} {name:<7} peer {a:.3} {b:6.2}% {c:.3} | ours {d:.3} {e:6.2}% {f:.3} | starts {g:.0} {h:.0} bound {i:.3} ratio {:.3} {:?}",
                d / a,
                began.elapsed()
            );
            if name != "bursts" {
                for (sum, value) in sums.iter_mut().zip([a, c, d, f]) {
                    *sum += value / 6.0;
                }
            }
        }
        println!(
            "{boot:>4} mean    peer {:.3} priced {:.3} | ours {:.3} priced {:.3}",
            sums[0], sums[1], sums[2], sums[3]
        );
    }
}
