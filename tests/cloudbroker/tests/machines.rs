//! Machines that are containers, on a real engine. Needs the image:
//! `scripts/cloudbroker-image/build`.

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use futures_util::FutureExt;
use micado_cloudbroker::{
    CallKind, Catalogue, Config, DockerMachines, Fault, Instance, Job, JobStatus, MachineKind,
    Outcome, Pace, Rule, Simulator,
};
use reqwest::{Method, header::CONTENT_TYPE};
use std::{
    collections::HashMap,
    fs,
    panic::AssertUnwindSafe,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(90);
const EXECUTE: &str = "#!/bin/bash\necho \"arguments: $*; input: $(cat input.txt)\"\ndocker info --format 'size: {{.MemTotal}} {{.NCPU}}'\necho done >/srv/marker\n";
const DEPLOY: &str =
    "#!/bin/bash\nset -e\nmkdir -p /opt/micado\ntar -xzf input.tar.gz -C /opt/micado\n";

/// A simulator with machines on the engine of this host, its folder, and the label of everything it
/// makes.
struct Bed {
    folder: tempfile::TempDir,
    docker: Docker,
    label: String,
    network: String,
    config: Config,
    simulator: Option<Simulator>,
    http: reqwest::Client,
}

/// Runs a test and removes everything afterwards, also after a failure.
async fn with_bed(name: &str, test: impl AsyncFnOnce(&mut Bed)) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut bed = Bed::make(name).await;
    let outcome = AssertUnwindSafe(test(&mut bed)).catch_unwind().await;
    bed.simulator
        .take()
        .expect("the simulator")
        .end()
        .await
        .expect("the end of all machines");
    let left = bed.containers().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(left.is_empty(), "{left:?}");
    assert!(
        bed.docker
            .inspect_network(&bed.network, None)
            .await
            .is_err(),
        "the network is left"
    );
}

impl Bed {
    async fn make(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        package(folder.path());
        let own = format!("{name}-{}", std::process::id());
        let run = std::env::var("MICADO_TEST_RUN").unwrap_or_else(|_| own.clone());
        let endpoint = std::env::var("DOCKER_HOST")
            .unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let docker = Docker::connect_with_host(&endpoint)
            .expect("an engine")
            .negotiate_version()
            .await
            .expect("an engine that answers: start it or set DOCKER_HOST");
        let network = format!("cloudbroker-{own}");
        let mut catalogue = Catalogue::default();
        catalogue.softwares[1].package = Some(folder.path().join("package"));
        let config = Config {
            catalogue,
            pace: Pace::every(Duration::from_millis(10)),
            state: Some(folder.path().join("state.json")),
            machines: MachineKind::Docker(DockerMachines {
                endpoint,
                network: network.clone(),
                image: "micado-cloudbroker:latest".to_owned(),
                labels: [
                    ("micado.test".to_owned(), run),
                    ("cloudbroker.test".to_owned(), own.clone()),
                ]
                .into(),
            }),
            ..Config::default()
        };
        let simulator = Some(Simulator::start(config.clone()).await.expect("a simulator"));
        Self {
            folder,
            docker,
            label: format!("cloudbroker.test={own}"),
            network,
            config,
            simulator,
            http: reqwest::Client::new(),
        }
    }

    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("the simulator")
    }

    /// Stops the program and starts it again.
    async fn restart(&mut self) {
        drop(self.simulator.take());
        self.simulator = Some(
            Simulator::start(self.config.clone())
                .await
                .expect("a simulator"),
        );
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: String) -> String {
        let request = self
            .http
            .request(method, format!("{}{path}", self.simulator().url()))
            .basic_auth("somebody@example.net", Some("secret"));
        let answer = request
            .header(CONTENT_TYPE, kind)
            .body(body)
            .send()
            .await
            .expect("an answer");
        let (status, body) = (answer.status(), answer.text().await.expect("its body"));
        assert!(status.is_success(), "{path}: {status}: {body}");
        body.split("<id>")
            .nth(1)
            .and_then(|rest| rest.split('<').next())
            .unwrap_or_default()
            .to_owned()
    }

    /// Submits a job of the test's software, with one input file.
    async fn submit(&self, name: &str, more: &str) {
        let order = format!(
            "<job><name>{name}</name><software-name>micado node</software-name><executable-name>execute.sh</executable-name><resource-name>CloudSigma</resource-name>\
            <region-name>CloudSigma Zurich</region-name><instance-type-name>CloudSigma Small</instance-type-name><argument-string>-start 'two words'</argument-string>{more}</job>"
        );
        let id = self
            .call(Method::POST, "/jobs.xml", "application/xml", order)
            .await;
        let types = self
            .http
            .get(format!("{}/data_types.xml", self.simulator().url()))
            .basic_auth("somebody@example.net", Some("secret"));
        let types = types
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("data types");
        let input = types
            .split("<id>")
            .find(|item| item.contains("<name>input<"))
            .and_then(|item| item.split('<').next())
            .expect("its id");
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("job_id", &id)
            + &part("data_type_id", input)
            + "--B\r\nContent-Disposition: form-data; name=\"data\"; filename=\"input.txt\"\r\n\r\nhello\r\n--B--\r\n";
        self.call(
            Method::POST,
            "/data_files.xml",
            "multipart/form-data; boundary=B",
            body,
        )
        .await;
        self.call(
            Method::PUT,
            &format!("/jobs/{id}/submit.xml"),
            "",
            String::new(),
        )
        .await;
    }

    /// Waits until the job matches.
    async fn until(&self, name: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        let start = Instant::now();
        loop {
            let job = self
                .simulator()
                .jobs()
                .into_iter()
                .find(|job| job.name == name)
                .expect("the job");
            if wanted(&job) {
                return job;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{job:#?} {:#?}",
                self.simulator().instances()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing is paid for, and checks the engine.
    async fn until_nothing_runs(&self) {
        let start = Instant::now();
        while !self.simulator().machines_running().is_empty() {
            assert!(
                start.elapsed() < PATIENCE,
                "{:?}",
                self.simulator().machines_running()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = self.containers().await;
        assert!(left.is_empty(), "{left:?}");
    }

    fn machine(&self, name: &str) -> Instance {
        self.simulator()
            .instances()
            .into_iter()
            .find(|instance| instance.ordered_as == name)
            .expect("the instance")
    }

    /// Containers made here.
    async fn containers(&self) -> Vec<String> {
        let filters: HashMap<_, _> = [("label", vec![self.label.as_str()])].into();
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let listed = self
            .docker
            .list_containers(Some(options))
            .await
            .expect("containers");
        listed
            .into_iter()
            .flat_map(|container| container.names.unwrap_or_default())
            .collect()
    }

    /// A file of the machine.
    async fn file(&self, instance: &Instance, path: &str) -> Option<String> {
        let output = Command::new("docker")
            .args(["exec", &instance.container(), "cat", path])
            .output()
            .expect("docker");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// A package like those that an administrator loads into CloudBroker.
fn package(folder: &Path) {
    let (package, node) = (folder.join("package"), folder.join("node"));
    fs::create_dir_all(&package)
        .and_then(|()| fs::create_dir_all(&node))
        .expect("folders");
    fs::write(package.join("deploy.sh"), DEPLOY)
        .and_then(|()| fs::write(node.join("execute.sh"), EXECUTE))
        .expect("files");
    // Identical bytes each time: the software's image is made once and found again.
    let script = format!(
        "chmod 755 node/execute.sh && tar --mtime=@0 --owner=0 --group=0 -c node | gzip -n >{}",
        package.join("input.tar.gz").display()
    );
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(folder)
            .status()
            .expect("sh")
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_its_executable_on_a_machine_of_its_size_and_outlives_the_program() {
    with_bed("job", async |bed| {
        let start = Instant::now();
        bed.submit("batch", "").await;
        bed.submit("server", "<permanently-running>true</permanently-running>")
            .await;
        let job = bed
            .until("batch", |job| job.status == JobStatus::Completed)
            .await;
        println!("from submitted to completed: {:?}", start.elapsed());
        assert_eq!(
            job.output,
            "arguments: -start two words; input: hello\nsize: 536870912 1\n"
        );
        assert_eq!(job.outcome, Some(Outcome::Ended));
        bed.until("server", |job| job.output.contains("size")).await;
        let server = bed.machine("server");
        assert_eq!(
            bed.file(&server, "/srv/marker").await.as_deref(),
            Some("done")
        );

        bed.restart().await;
        bed.until("server", |job| job.status == JobStatus::Running)
            .await;
        assert_eq!(bed.machine("server").machine, server.machine);
        assert_eq!(
            bed.file(&server, "/srv/marker").await.as_deref(),
            Some("done")
        );

        bed.docker
            .kill_container(&server.container(), None)
            .await
            .expect("its end");
        let lost = bed
            .until("server", |job| job.status == JobStatus::Completed)
            .await;
        assert_eq!(lost.outcome, Some(Outcome::Failed));
        bed.until_nothing_runs().await;
        assert_eq!(bed.simulator().booted_total("server"), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_set_up_by_cloud_init_and_one_that_dies_booting_leaves_nothing() {
    with_bed("instance", async |bed| {
        bed.simulator().faults().add(Rule::new(CallKind::SubmitJob, Fault::DiesBooting));
        bed.submit("dies", "").await;
        let http = bed.http.get(format!("{}/deployments.xml", bed.simulator().url())).basic_auth("somebody@example.net", Some("secret"));
        let deployments = http.send().await.expect("an answer").text().await.expect("deployments");
        let deployment = deployments.split("<id>").find(|item| item.contains("micado node on CloudSigma")).and_then(|item| item.split('<').next()).expect("its id");
        let sizes = bed.http.get(format!("{}/instance_types.xml", bed.simulator().url())).basic_auth("somebody@example.net", Some("secret"));
        let sizes = sizes.send().await.expect("an answer").text().await.expect("sizes");
        let size = sizes.split("<id>").find(|item| item.contains("CloudSigma Medium")).and_then(|item| item.split('<').next()).expect("its id");
        let config = "#cloud-config\nwrite_files:\n- path: /etc/test/written\n  content: by cloud-init\n  permissions: '0600'\nruncmd:\n- [sh, -c, 'cat /etc/test/written /proc/sys/kernel/hostname >/srv/done']\n";
        let escaped = config.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let order = format!("<instance><name>alone</name><deployment_id>{deployment}</deployment_id><instance_type_id>{size}</instance_type_id><cloud-init>{escaped}</cloud-init></instance>");
        bed.call(Method::POST, "/instances.xml", "application/xml", order).await;
        let (start, instance) = (Instant::now(), bed.machine("alone"));
        let done = loop {
            if let Some(done) = bed.file(&instance, "/srv/done").await {
                break done;
            }
            let log = || Command::new("docker").args(["logs", &instance.container()]).output();
            assert!(start.elapsed() < PATIENCE, "{:#?} {:?}", bed.machine("alone"), log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        println!("from the order to the end of cloud-init: {:?}", start.elapsed());
        assert!(done.starts_with("by cloud-init") && done.contains("vm-"), "{done}");

        let dead = bed.until("dies", |job| job.status == JobStatus::Completed).await;
        assert_eq!((dead.outcome, bed.simulator().booted_total("dies")), (Some(Outcome::Failed), 1));
        bed.call(Method::PUT, &format!("/instances/{}/stop", instance.id), "", String::new()).await;
        bed.until_nothing_runs().await;
        assert!(bed.folder.path().join("state.json").exists());
    })
    .await;
}
