//! CPU time for reading a list of 1,000 jobs. `cargo bench -p micado-cloudsetup --bench
//! cloudbroker`

use micado_api::ClusterId;
use micado_cloudsetup::cloudbroker::machines_on_page;
use std::{hint::black_box, time::Duration};

const RUNS: usize = 9;
const JOBS: usize = 1000;

fn main() {
    // Also built as a test target (`cargo test --benches`), where nothing is measured.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (page, cluster) = (page(), ClusterId::trusted("4f1d22aa"));
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let begun = cpu();
            let machines = machines_on_page(black_box(&page), &cluster).expect("a page of jobs");
            assert_eq!(machines.len(), JOBS);
            cpu() - begun
        })
        .collect();
    times.sort();
    println!(
        "a page of {JOBS} jobs, {} KiB: {:?} of CPU (of {RUNS} runs: {:?} to {:?})",
        page.len() >> 10,
        times[RUNS / 2],
        times[0],
        times[RUNS - 1]
    );
}

/// CPU time of this thread by the kernel's own count, undisturbed by other programs.
fn cpu() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux with scheduler statistics");
    Duration::from_nanos(
        counts
            .split(' ')
            .next()
            .and_then(|nanoseconds| nanoseconds.parse().ok())
            .expect("a number"),
    )
}

/// Complete records, as the broker shows them.
fn page() -> String {
    let jobs: String = (0..JOBS).map(job).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<jobs type=\"array\">\n{jobs}</jobs>\n")
}

fn job(number: usize) -> String {
    format!(
        "  <job>
    <id>20000000-0000-4000-8000-{number:012}</id>
    <name>micado-4f1d22aa-{number:08x}</name>
    <description>micado cloud=zrh tag=application{number} location=application application=Node flavour=small</description>
    <status>running</status>
    <software-id>10000000-0000-4000-8000-000000000001</software-id>
    <executable-id>10000000-0000-4000-8000-000000000002</executable-id>
    <resource-id>10000000-0000-4000-8000-000000000003</resource-id>
    <region-id>10000000-0000-4000-8000-000000000004</region-id>
    <instance-type-id>10000000-0000-4000-8000-000000000005</instance-type-id>
    <deployment-id>30000000-0000-4000-8000-000000000001</deployment-id>
    <argument-string>-start application</argument-string>
    <nodes type=\"integer\">1</nodes>
    <archive-output type=\"boolean\">false</archive-output>
    <start-immediately type=\"boolean\">true</start-immediately>
    <no-instance-shutdown type=\"boolean\">false</no-instance-shutdown>
    <permanently-running type=\"boolean\">true</permanently-running>
    <no-execution type=\"boolean\">false</no-execution>
    <previous-job-id nil=\"true\"/>
    <requested-instance-id nil=\"true\"/>
    <job-outcome-string nil=\"true\"/>
    <stop-reason nil=\"true\"/>
    <used-storage type=\"integer\">0</used-storage>
    <used-core-runtime type=\"integer\">0</used-core-runtime>
    <used-runtime type=\"integer\">{number}</used-runtime>
    <hours-paid type=\"integer\">1</hours-paid>
    <hours-paid-for-instance type=\"integer\">1</hours-paid-for-instance>
    <last-load-files type=\"datetime\" nil=\"true\"/>
    <created-at type=\"datetime\">2016-03-01T09:00:00Z</created-at>
    <updated-at type=\"datetime\">2016-03-01T09:00:00Z</updated-at>
  </job>
"
    )
}
