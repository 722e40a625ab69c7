//! Records are sealed in the file: no secret is in it in clear text.

use super::*;
use crate::store::conformance::{instance, login};

const SECRET: &str = "s3cret-of-a-setting";

fn tells(file: &Path, secret: &str) -> bool {
    std::fs::read(file)
        .expect("read")
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_file() {
    let home = TestHome::fresh().await;
    let store = home.open().await;
    for version in 0..3 {
        store
            .commit(&[
                put(setting("token", &format!("{SECRET} {version}")), version),
                put(instance(), version),
                put(login(), version),
            ])
            .await
            .expect("commit");
    }
    drop(store);
    for secret in [
        SECRET,
        "data.bin",
        "the broker's own words",
        "s3cret-of-a-login",
    ] {
        assert!(!tells(&home.file(), secret), "{secret}");
    }
}

#[tokio::test]
async fn a_copy_is_sealed_with_its_own_key_and_touches_no_store_that_holds_records() {
    use crate::store::{Place, copy};
    let home = TestHome::fresh().await;
    let wanted = vec![(instance(), 1), (setting("token", SECRET), 1)];
    let changes = [put(instance(), 0), put(setting("token", SECRET), 0)];
    home.open().await.commit(&changes).await.expect("commit");
    let TestHome { folder, keys } = home;
    // The copy opens the key itself.
    drop(keys);
    let place = |name: &str| Place::File(folder.path().join(name));
    let run = async |from: &str, to: &str| copy(place(from), place(to), folder.path()).await;
    let refusal = async |from: &str, to: &str| {
        let error = run(from, to).await.expect_err("a refusal");
        error.to_string()
    };

    let copied = run("micado.redb", "copy").await.expect("copied");
    assert_eq!(copied.records["setting"], 1);
    assert!(!tells(&folder.path().join("copy"), SECRET));
    assert!(refusal("micado.redb", "copy").await.contains("not empty"));
    std::fs::write(folder.path().join("blank"), "").expect("write");
    for none in ["blank", "missing"] {
        assert!(refusal(none, "other").await.contains("there is no store"));
        assert!(!folder.path().join("other").exists());
    }
    let length = std::fs::metadata(folder.path().join("blank")).expect("metadata");
    assert_eq!(length.len(), 0);
    assert!(!folder.path().join("missing").exists());
    for file in ["micado.redb", "copy"] {
        let store = open_beside_key(&folder.path().join(file)).await;
        assert_eq!(store.load().await, Ok(wanted.clone()), "{file}");
    }
}

#[tokio::test]
async fn a_store_of_another_key_is_refused_and_left_alone() {
    let home = TestHome::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("token", SECRET), 0)])
        .await
        .expect("commit");
    let other = TestHome::fresh().await;
    let error = EmbeddedStore::open(home.file(), other.keys.clone())
        .await
        .expect_err("another key");
    assert!(
        matches!(&error, StoreError::Schema(words) if words.contains("another key") && words.contains("store.key")),
        "{error}"
    );
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![(setting("token", SECRET), 1)])
    );
}

#[tokio::test]
async fn records_that_were_exchanged_are_found_out() {
    let home = TestHome::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("a", "1"), 0), put(setting("b", "2"), 0)])
        .await
        .expect("commit");
    let database = Database::create(home.file()).expect("open");
    let transaction = database.begin_write().expect("begin");
    let mut settings = transaction
        .open_table(Table::new("setting"))
        .expect("table");
    let other = settings
        .get("b")
        .expect("get")
        .expect("there")
        .value()
        .1
        .to_vec();
    settings.insert("a", (1, other.as_slice())).expect("insert");
    drop(settings);
    transaction.commit().expect("commit");
    drop(database);
    let error = home
        .open()
        .await
        .load()
        .await
        .expect_err("it is b's record");
    assert!(
        error.to_string().starts_with("setting `a` in the store "),
        "{error}"
    );
}
