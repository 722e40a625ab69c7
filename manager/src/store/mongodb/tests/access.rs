//! A server with authentication and encryption: users with passwords, and TLS.

use super::{
    server::{Server, database},
    *,
};
use crate::{
    pki::Pki,
    store::conformance::{all_of, point, recently},
};
use ::mongodb::bson::doc;
use micado_api::Timestamp;
use micado_core::metrics::Resolution;
use std::{os::unix::fs::PermissionsExt, path::Path};

/// Contains characters that URLs must quote.
const PASSWORD: &str = "p@ss/w:rd%";
const QUOTED: &str = "p%40ss%2Fw%3Ard%25";

/// A server with password authentication, and one user of its `kept` database.
struct Guarded {
    server: Server,
    folder: TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || Server::start_with(1, &guards(&path)))
            .await
            .expect("a server");
        let guarded = Self { server, folder };
        let admin = database(&guarded.url("admin", "", "")).await;
        admin
            .run_command(doc! { "createUser": "root", "pwd": "root", "roles": ["root"] })
            .await
            .expect("the first user");
        let admin = database(&guarded.url("admin", "root:root@", "")).await;
        let roles = [doc! { "role": "readWrite", "db": "kept" }];
        admin
            .run_command(doc! { "createUser": "micado", "pwd": PASSWORD, "roles": roles })
            .await
            .expect("a user");
        guarded
    }

    fn url(&self, database: &str, who: &str, more: &str) -> String {
        self.server
            .url(database)
            .replacen("mongodb://", &format!("mongodb://{who}"), 1)
            + "&authSource=admin"
            + more
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// Arguments of the server. Members authenticate each other by the key file. It answers without TLS
/// too, because `scripts/mongod` does not use TLS.
fn guards(folder: &Path) -> Vec<String> {
    let pki = Pki::open(&folder.join("pki")).expect("an authority");
    let identity = pki
        .server_certificate("mongod", &["127.0.0.1".to_owned()])
        .expect("a certificate");
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
        file.display().to_string()
    };
    let stranger = Pki::open(&folder.join("stranger")).expect("an authority");
    write("stranger.crt", stranger.authority());
    let authority = write("ca.crt", pki.authority());
    let certificate = write(
        "server.pem",
        &format!("{}{}", identity.certificate, identity.key),
    );
    let key = write("members.key", "c2VjcmV0LW9mLXRoZS1tZW1iZXJz");
    let flags = [
        "--auth",
        "--keyFile",
        &key,
        "--tlsMode",
        "preferTLS",
        "--tlsAllowConnectionsWithoutCertificates",
        "--tlsCAFile",
        &authority,
    ];
    flags
        .into_iter()
        .chain(["--tlsCertificateKeyFile", &certificate])
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_user_who_may_read_and_write_is_enough_with_tls_and_without() {
    let guarded = Guarded::start().await;
    let tls = format!("&tls=true&tlsCAFile={}", guarded.file("ca.crt"));
    let mut home = TestHome::at(String::new());
    for (version, more) in ["", &tls].into_iter().enumerate() {
        home.url = guarded.url("kept", &format!("micado:{QUOTED}@"), more);
        let store = home.store(QUICK).await.expect("open");
        store
            .commit(&[put(setting("a", "1"), version as u64)])
            .await
            .expect("commit");
        store
            .show(Timestamp(1), &[], &[], &[])
            .await
            .expect("shown");
        let point = point("a", Resolution::Sample, recently(), &["alice_web.1"]);
        store
            .record(std::slice::from_ref(&point))
            .await
            .expect("recorded");
        assert_eq!(
            store.recall(&all_of("a", Resolution::Sample)).await,
            Ok(vec![point])
        );
        // As after a crash: the next manager ends the open transaction.
        store.renewer.abort();
    }
    assert_eq!(
        settings(&home.store(QUICK).await.expect("open")).await,
        [("a".into(), "1".into(), 2)]
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_the_password_is_not_shown() {
    let guarded = Guarded::start().await;
    let strange = format!("&tls=true&tlsCAFile={}", guarded.file("stranger.crt"));
    let micado = format!("micado:{QUOTED}@");
    let cases = [
        (
            guarded.url("kept", "micado:wrong@", ""),
            "lets nobody in with this user and password",
        ),
        (
            guarded.url("kept", "nobody:wrong@", ""),
            "lets nobody in with this user and password",
        ),
        (guarded.url("kept", "", ""), "requires authentication"),
        (guarded.url("other", &micado, ""), "not authorized"),
        (guarded.url("kept", &micado, &strange), "tlsCAFile"),
        (guarded.url("kept", &micado, "&tls=true"), "tlsCAFile"),
        (
            guarded.url("kept", &micado, "&tls=true&tlsCAFile=/nowhere/ca.crt"),
            "cannot be used",
        ),
    ];
    for (url, words) in cases {
        let error = TestHome::at(url)
            .store(QUICK)
            .await
            .expect_err("not let in")
            .to_string();
        assert!(error.contains(words), "{error} does not say `{words}`");
        assert!(
            !error.contains("wrong") && !error.contains(PASSWORD) && !error.contains(QUOTED),
            "{error}"
        );
    }
}
