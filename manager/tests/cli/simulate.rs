//! `micado simulate`, which needs no manager.

use super::{Ended, micado};

async fn simulated(line: &str) -> Ended {
    micado("unix:///nowhere", line)
        .output()
        .await
        .expect("it runs")
        .into()
}

#[tokio::test]
async fn a_load_is_reported_for_people_and_programs() {
    let ended = simulated("simulate --load flash:hours=1.2 --changes").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("cost / optimum"), "{}", ended.out);
    assert!(ended.out.contains("01:00:0"), "{}", ended.out);
    assert!(ended.out.contains(" grew 12 -> "), "{}", ended.out);

    let ended = simulated("simulate --load flash:hours=1.2 --against none --output json").await;
    let report: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert!(
        report["micado"]["relative"]
            .as_f64()
            .is_some_and(|cost| cost > 0.5)
    );
    assert!(report.get("against").is_none());
}

#[tokio::test]
async fn services_of_a_mix_are_shown_apart() {
    let line = "simulate --load saw:hours=0.5 --load steady:hours=0.5,level=3 --faults";
    let ended = simulated(line).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let apart = ended.out.lines().filter(|line| line.starts_with("saw:"));
    assert_eq!(apart.count(), 2, "{}", ended.out);
}

#[tokio::test]
async fn files_are_read_and_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("load.csv"), "seconds,cores\n0,1\n600,6\n1200,1\n").expect("written");
    let policy = "min = 3\nmax = 5\n[[policies]]\nkind = \"target\"\ntarget = 0.5\n";
    std::fs::write(path("policy.toml"), policy).expect("written");
    let (load, file, plot) = (path("load.csv"), path("policy.toml"), path("plot.svg"));
    let line = format!("simulate --load {load} --policy {file} --plot {plot} --csv");
    let ended = simulated(&line).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let capacities: Vec<f64> = ended
        .out
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(2)?.parse().ok())
        .collect();
    assert_eq!(capacities.len(), 120);
    assert!(capacities.iter().all(|cores| (3.0..=5.0).contains(cores)));
    let ended = simulated(&format!("simulate --load {load} --against {file}")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("POLICY.TOML"), "{}", ended.out);
    let svg = std::fs::read_to_string(&plot).expect("a plot");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}

#[tokio::test]
async fn wrong_loads_and_policies_are_refused_with_the_next_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.toml").display().to_string();
    std::fs::write(&file, "min = 9\nmax = 5\n").expect("written");
    let ended = simulated(&format!("simulate --load steady --policy {file}")).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.err,
        "error: limits: min 9 is above max 5\n\
         hint: set min to at most max, and max to at least 1\n"
    );
    for line in [
        "simulate",
        "simulate --load all --csv",
        "simulate --load steady --load all",
        "simulate --load steady --from-history acme_web",
        "simulate --load steady --price 0",
        "simulate --load steady --past 1",
    ] {
        let ended = simulated(line).await;
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.err);
    }
    let ended = simulated("simulate --from-history acme_web").await;
    assert_eq!(ended.code, Some(1), "no manager: {}", ended.err);
    let ended = simulated("simulate --load saw:top=3").await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("shape `saw` has no value `top`"),
        "{}",
        ended.err
    );
}
