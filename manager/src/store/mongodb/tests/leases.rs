//! Two managers on one database: one owner at a time, whatever happens to the other.

use super::*;
use std::time::Instant;

/// A manager with a copy of the state folder: the same key, but another lock.
fn rival(home: &TestHome) -> TestHome {
    let state = tempfile::tempdir().expect("a folder");
    std::fs::copy(
        home.state.path().join("store.key"),
        state.path().join("store.key"),
    )
    .expect("copied");
    let keys = Arc::new(KeyFile::open(state.path()).expect("a key"));
    TestHome {
        url: home.url.clone(),
        keys,
        state,
    }
}

/// Simulates a crash: the lease stays without renewal.
async fn crash(store: &MongoStore) {
    store.renewer.abort();
}

#[tokio::test]
async fn a_second_manager_is_refused_until_the_first_has_closed() {
    let home = TestHome::fresh().await;
    let first = home.store(QUICK).await.expect("open");
    first
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    let rival = rival(&home);
    let refused = rival.store(QUICK).await.expect_err("it is in use");
    assert!(
        matches!(&refused, StoreError::InUse(words) if words.contains(&format!("process {}", std::process::id()))),
        "{refused}"
    );
    first
        .commit(&[put(setting("a", "2"), 1)])
        .await
        .expect("the first was not disturbed");

    first.close().await;
    let begun = Instant::now();
    let second = rival.store(QUICK).await.expect("it is free");
    assert!(begun.elapsed() < QUICK.lease, "without a wait");
    assert_eq!(settings(&second).await, [("a".into(), "2".into(), 2)]);
}

#[tokio::test]
async fn a_manager_that_died_is_replaced_and_if_it_lives_can_write_no_more() {
    let home = TestHome::fresh().await;
    let first = home.store(QUICK).await.expect("open");
    first
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    crash(&first).await;
    let second = rival(&home)
        .store(QUICK)
        .await
        .expect("its lease has run out");
    for change in [put(setting("a", "2"), 1), put(setting("b", "1"), 0)] {
        let late = first.commit(&[change]).await.expect_err("it was replaced");
        assert!(
            matches!(late, StoreError::InUse(_) | StoreError::Failed(_)),
            "{late:?}"
        );
    }
    assert!(
        matches!(first.load().await, Err(StoreError::InUse(_))),
        "nor does it come back by loading"
    );
    assert_eq!(settings(&second).await, [("a".into(), "1".into(), 1)]);
    second
        .commit(&[put(setting("a", "3"), 1)])
        .await
        .expect("commit");
}

#[tokio::test]
async fn what_a_killed_manager_left_open_holds_nobody_up() {
    let home = TestHome::fresh().await;
    let first = home.store(QUICK).await.expect("open");
    crash(&first).await;
    // As if killed between its writes and its commit: its transaction locks the lease.
    let mut hold = first
        .inner
        .hold
        .lock()
        .await
        .take()
        .expect("it has the lease");
    hold.session.start_transaction().await.expect("begun");
    let (mine, beat) = super::super::lease::mine(&first.inner, &hold);
    let lease = first
        .inner
        .database
        .collection::<::mongodb::bson::Document>("lease");
    lease
        .update_one(mine, beat)
        .session(&mut hold.session)
        .await
        .expect("written");

    let begun = Instant::now();
    let second = home
        .store(QUICK)
        .await
        .expect("the same state folder needs not wait for the lease either");
    assert!(begun.elapsed() < QUICK.lease, "{:?}", begun.elapsed());
    second
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    hold.session
        .commit_transaction()
        .await
        .expect_err("it is over");
}

#[tokio::test]
async fn one_lease_lasts_for_as_long_as_the_manager_does() {
    let home = TestHome::fresh().await;
    let first = home.store(QUICK).await.expect("open");
    let rival = rival(&home);
    let begun = Instant::now();
    while begun.elapsed() < QUICK.lease * 2 {
        let refused = rival.store(QUICK).await.expect_err("it is in use");
        assert!(matches!(refused, StoreError::InUse(_)), "{refused:?}");
    }
    first
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
}
