//! The agent's program: for machines of ours, and for their processor.

use super::*;
use std::env::consts::ARCH;

#[tokio::test(flavor = "multi_thread")]
async fn a_rented_machine_takes_the_agents_program_and_nobody_else_does() {
    let (manager, instance) = renting(0);
    let machine = showing(
        &manager,
        &manager
            .pki
            .client_certificate(instance.as_str())
            .expect("a certificate"),
    );
    let wanted = |client: &reqwest::Client, machine: &str| {
        client.get(url(
            &manager,
            &format!("/v1/agent/program?machine={machine}"),
        ))
    };
    assert_eq!(
        status(wanted(&manager.http(), ARCH)).await,
        StatusCode::UNAUTHORIZED,
        "no certificate"
    );
    let stranger = showing(
        &manager,
        &manager
            .pki
            .client_certificate("i-nobody")
            .expect("a certificate"),
    );
    assert_eq!(
        status(wanted(&stranger, ARCH)).await,
        StatusCode::UNAUTHORIZED,
        "an instance that is not rented"
    );

    let refused = |response: reqwest::Response| async move {
        (response.status(), response.text().await.expect("words"))
    };
    let (code, words) = refused(wanted(&machine, ARCH).send().await.expect("an answer")).await;
    assert!(
        code == StatusCode::NOT_FOUND && words.contains("cannot read it"),
        "the file is not there: {words}"
    );
    let program: Vec<u8> = (0..3_000_000_u32)
        .map(|number| u8::try_from(number % 251).expect("a byte"))
        .collect();
    std::fs::write(manager.state().join("micado-node"), &program).expect("written");
    let (code, words) = refused(wanted(&machine, "pdp11").send().await.expect("an answer")).await;
    assert!(
        code == StatusCode::NOT_FOUND && words.contains("pdp11") && words.contains(ARCH),
        "of another processor: {words}"
    );
    let taken = wanted(&machine, ARCH).send().await.expect("an answer");
    assert_eq!(
        taken.content_length(),
        Some(3_000_000),
        "so that a program that was cut off is known"
    );
    assert!(
        taken.bytes().await.expect("the program") == program,
        "whole"
    );
}
