//! Logins to external registries: checked, kept, and never shown.

use super::{
    rig::{launch, refusal},
    *,
};
use crate::model::{Login, Secret};
use micado_api::{AccessRequest, LoginRequest, LoginView};

const PASSWORD: &str = "s3cret-of-a-login";

fn login(user: &str, password: &str) -> LoginRequest {
    LoginRequest {
        user: user.to_owned(),
        password: password.to_owned(),
        check: true,
    }
}

async fn kept(manager: &Manager) -> Vec<Login> {
    let read = manager.handle.read(|core| core.secret_logins()).await;
    read.expect("a core")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_kept_and_removed() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let request = login("alice", PASSWORD);
    let wrong = refusal(client.log_in("r.example.org", &request).await);
    assert_eq!(wrong.code, ErrorCode::Unsatisfiable);
    let shown = format!("{wrong:?}");
    assert!(
        shown.contains("unauthorized") && !shown.contains(PASSWORD),
        "{shown}"
    );
    assert_eq!(kept(&manager).await, []);

    let all = client
        .log_in("R.example.org", &login("alice", "good"))
        .await;
    let all = all.expect("it is kept");
    assert_eq!((&*all[0].host, &*all[0].user), ("r.example.org", "alice"));
    let [login_kept] = &kept(&manager).await[..] else {
        panic!("one login")
    };
    assert_eq!(login_kept.secret, Secret::Password("good".to_owned()));
    let listed = client.logins().await.expect("a list");
    assert_eq!(listed, all);

    let gone = client.log_out("r.example.org").await;
    assert_eq!(gone.expect("it is there"), Vec::<LoginView>::new());
    let gone = refusal(client.log_out("r.example.org").await);
    assert_eq!(gone.code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_takes_the_place_of_the_password() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let request = login("alice", PASSWORD);
    let all = client.log_in("tokens.example.org", &request).await;
    assert_eq!(all.expect("it is kept").len(), 1);
    let secret = Secret::IdentityToken("a token".to_owned());
    assert_eq!(kept(&manager).await[0].secret, secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_not_checked_if_asked_so() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let request = login("alice", PASSWORD);
    let silent = refusal(client.log_in("gone.example.org", &request).await);
    assert_eq!(silent.code, ErrorCode::Unsatisfiable);
    assert!(silent.hint.is_some_and(|hint| hint.contains("--no-check")));
    let unchecked = LoginRequest {
        check: false,
        ..request
    };
    let all = client.log_in("gone.example.org", &unchecked).await;
    assert_eq!(all.expect("it is kept").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_login_is_refused() {
    let manager = Manager::start();
    let client = manager.by_socket();
    for (host, user, password, words) in [
        ("acme", "alice", "good", "no registry"),
        ("https://r.example.org", "alice", "good", "no registry"),
        ("r.example.org:0", "alice", "good", "no registry"),
        ("r.example.org", "", "good", "user"),
        ("r.example.org", "a\nb", "good", "user"),
        ("r.example.org", "alice", "", "the password"),
        ("r.example.org", "alice", "a\0b", "the password"),
    ] {
        let refused = refusal(client.log_in(host, &login(user, password)).await);
        assert_eq!(refused.code, ErrorCode::BadRequest, "{host}");
        assert!(refused.message.contains(words), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_of_a_private_image_names_the_way() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let mut private = launch("r.example.org/private");
    let refused = refusal(client.launch(&private).await);
    assert_eq!(refused.code, ErrorCode::NotFound);
    let hint = refused.hint.expect("the next step");
    assert!(
        hint.contains("micado registry login r.example.org"),
        "{hint}"
    );
    private.spec.image = "r.example.org/none".to_owned();
    let refused = refusal(client.launch(&private).await);
    assert!(refused.hint.is_some_and(|hint| hint.contains("build it")));
    let kept = client
        .log_in("r.example.org", &login("alice", "good"))
        .await;
    assert!(kept.is_ok(), "{kept:?}");
    private.spec.image = "r.example.org/private".to_owned();
    client.launch(&private).await.expect("launched");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_into_a_registry_of_others() {
    let manager = Manager::start();
    let csr = String::new();
    let answer = manager.by_socket();
    let refused = refusal(answer.registry_access(&AccessRequest { csr }).await);
    assert_eq!(refused.code, ErrorCode::Unsatisfiable);
    assert!(
        refused.message.contains("not run by this manager"),
        "{refused:?}"
    );
}
