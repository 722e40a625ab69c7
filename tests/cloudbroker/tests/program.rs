//! The program, as scripts start it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A program that is killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // In a passing test it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudbroker"));
    command
        .args(arguments)
        .stderr(Stdio::piped())
        .env_remove("RUST_LOG");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_whom_the_credentials_file_names_until_it_is_told_to_end() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let credentials = folder.path().join("cbcredentials");
    fs::write(&credentials, "me@example.net\npass word\n").expect("a file");
    let path = credentials.display().to_string();
    let mut running = Running(
        program(&[
            "--listen",
            "127.0.0.1:0",
            "--credentials",
            &path,
            "--pace",
            "5ms,job.running=1s",
        ])
        .spawn()
        .expect("the program"),
    );
    let mut lines = BufReader::new(running.0.stderr.take().expect("its log")).lines();
    let url = lines
        .find_map(|line| {
            Some(
                line.expect("a line")
                    .split_once("http=\"")?
                    .1
                    .split('"')
                    .next()?
                    .to_owned(),
            )
        })
        .expect("its address");
    let status = async |password| {
        let request = reqwest::Client::new()
            .get(format!("{url}/jobs.xml"))
            .basic_auth("me@example.net", Some(password));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(
        (status("pass word").await, status("password").await),
        (200, 401)
    );
    assert!(
        Command::new("kill")
            .arg(running.0.id().to_string())
            .status()
            .expect("kill")
            .success()
    );
    assert!(running.0.wait().expect("its end").success());
}

#[test]
fn what_is_wrong_with_its_arguments_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let credentials = folder.path().join("cbcredentials");
    fs::write(&credentials, "only one line\n").expect("a file");
    let path = credentials.display().to_string();
    for (arguments, words) in [
        (
            vec!["--credentials", &path],
            "user and password on two lines",
        ),
        (vec!["--credentials", "/nowhere"], "`/nowhere`"),
        (
            vec!["--credentials", &path, "--pace", "slow"],
            "`slow` is no duration",
        ),
        (
            vec!["--credentials", &path, "--software", "node"],
            "has no `=`",
        ),
        (
            vec!["--credentials", &path, "--engine", "unix:///x"],
            "--network",
        ),
    ] {
        let output = program(&arguments).output().expect("the program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(words),
            "{arguments:?}: {said}"
        );
    }
}
