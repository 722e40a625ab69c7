//! Logins are kept, shown without their secrets, and go along with the pushes of their images.

use super::*;
use crate::{
    model::{Login, Secret},
    store::Record,
};

fn log_in(host: &str, password: &str) -> Request {
    Request::LogIn {
        host: host.to_owned(),
        user: "alice".to_owned(),
        secret: Secret::Password(password.to_owned()),
    }
}

/// Launches a service of this image, which the manager's engine has to push.
fn launch(bench: &mut Bench, image: &str) -> Vec<Action> {
    let launch = LaunchRequest {
        spec: ServiceSpec {
            image: image.to_owned(),
            ..spec("a", 256)
        },
        publish_all: false,
        request: None,
        unnamed: micado_api::Unnamed::default(),
        copies: std::num::NonZeroU32::MIN,
    };
    let facts = ImageFacts {
        pull: None,
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    let (reply, actions) = bench.ask(Request::Launch(Box::new(launch), facts));
    assert!(reply.is_ok(), "{reply:?}");
    actions
}

/// The push among these actions, and the password that it carries.
fn push(actions: Vec<Action>) -> Option<(CallKey, Option<String>)> {
    let password = |login: Box<Login>| match login.secret {
        Secret::Password(password) | Secret::IdentityToken(password) => password,
    };
    actions.into_iter().find_map(|action| match action {
        Action::Call(key, Call::PushImage { login, .. }) => Some((key, login.map(password))),
        _ => None,
    })
}

#[test]
fn a_login_is_replaced_shown_without_its_secret_and_removed() {
    let mut bench = Bench::new(|_| {});
    let (reply, actions) = bench.ask(log_in("Index.docker.io", "one"));
    assert_eq!(reply, Ok(Reply::Recorded));
    assert!(!format!("{actions:?}").contains("one\""), "{actions:?}");
    let (_, actions) = bench.ask(log_in("docker.io", "two"));
    let kept = actions.iter().find_map(|action| match action {
        Action::Commit(changes) => changes.iter().find_map(|change| match &change.record {
            Some(Record::Login(login)) => Some((change.expected, login.secret.clone())),
            _ => None,
        }),
        _ => None,
    });
    assert_eq!(kept, Some((1, Secret::Password("two".to_owned()))));
    let views = bench.core.logins();
    assert_eq!(views.len(), 1, "{views:?}");
    assert_eq!((&*views[0].host, &*views[0].user), ("docker.io", "alice"));
    for (image, known) in [
        ("web", true),
        ("docker.io/a/web:1", true),
        ("r:5/web", false),
    ] {
        assert_eq!(bench.core.login_for(image).is_some(), known, "{image}");
    }

    let out = |host: &str| Request::LogOut {
        host: host.to_owned(),
    };
    let unknown = bench.ask(out("r.example.org")).0.expect_err("a refusal");
    assert_eq!(unknown.code, ErrorCode::NotFound);
    assert!(unknown.hint.is_some_and(|hint| hint.contains("docker.io")));
    assert_eq!(
        bench.ask(out("registry-1.docker.io")).0,
        Ok(Reply::Recorded)
    );
    assert_eq!(bench.core.logins(), []);
}

#[test]
fn a_failed_pull_is_tried_at_once_with_a_new_login() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.ask(log_in("r:5000", "old")).0.is_ok());
    let (key, password) = push(launch(&mut bench, "r:5000/web")).expect("a push");
    assert_eq!(password.as_deref(), Some("old"));
    let refused = || Answer::Pushed(Err(EngineError::Refused("unauthorized".to_owned())));
    let after = bench.event(Event::Answered(key.clone(), refused()));
    assert_eq!(push(after), None, "it waits");
    let (_, actions) = bench.ask(log_in("r:5000", "new"));
    assert_eq!(push(actions), Some((key.clone(), Some("new".to_owned()))));
    bench.event(Event::Answered(key, refused()));
    let (_, actions) = bench.ask(log_in("elsewhere:5000", "new"));
    assert_eq!(push(actions), None, "of another registry");
}

#[test]
fn an_image_of_another_registry_is_pushed_without_a_login() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.ask(log_in("r:5000", "old")).0.is_ok());
    let (_, password) = push(launch(&mut bench, "web")).expect("a push");
    assert_eq!(password, None);
}
