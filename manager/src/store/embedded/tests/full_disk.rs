//! A disk that is full for a while.

use super::*;
use redb::{StorageBackend, backends::FileBackend};
use std::sync::atomic::{AtomicBool, Ordering};

/// A file on a disk that can be full: then no write beyond its present end succeeds.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // The header is written in place, on a full disk too.
        if offset > 0 {
            self.room()?;
        }
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// A store on such a disk.
async fn store(home: &TestHome, full: &Arc<AtomicBool>) -> EmbeddedStore {
    drop(home.open().await);
    let (path, full) = (home.file(), full.clone());
    let open = move || {
        let file = FileBackend::new(claim(&path, IfNone::Refuse)?).expect("a backend");
        let full = full.clone();
        let opened = Database::builder().create_with_backend(Disk { file, full });
        opened.map_err(|error| explain(&path, &error.into()))
    };
    let database = open().expect("there is room");
    EmbeddedStore::of(Slot::new(home.file(), database, open), home.keys.clone())
}

fn assert_full<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let Err(StoreError::Failed(words)) = &answer else {
        panic!("{answer:?}")
    };
    assert!(words.contains("nothing can be recorded"), "{words}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_outlived() {
    let home = TestHome::fresh().await;
    let full = Arc::new(AtomicBool::new(false));
    let store = store(&home, &full).await;
    let value = |text: &str| put(setting(text, &text.repeat(100_000)), 0);
    store.commit(&[value("a")]).await.expect("there is room");

    full.store(true, Ordering::SeqCst);
    assert_full(store.commit(&[value("b")]).await);
    assert_full(Err::<(), _>(store.lost().await));
    for _ in 0..3 {
        assert_full(store.load().await);
    }
    assert_full(store.commit(&[value("b")]).await);

    full.store(false, Ordering::SeqCst);
    let names = |contents: Contents| -> Vec<_> {
        let mut names: Vec<_> = contents
            .into_iter()
            .filter_map(|(record, _)| match record {
                Record::Setting(it) => Some(it.name),
                _ => None,
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(store.load().await.expect("there is room")), ["a"]);
    store.commit(&[value("c")]).await.expect("there is room");
    assert_eq!(names(store.load().await.expect("read")), ["a", "c"]);
    let lost = tokio::time::timeout(std::time::Duration::from_millis(10), store.lost()).await;
    assert!(lost.is_err(), "all is well again: {lost:?}");
}

#[tokio::test]
async fn a_past_that_cannot_be_recorded_is_a_lost_store_until_it_can() {
    let home = TestHome::fresh().await;
    let full = Arc::new(AtomicBool::new(false));
    let store = store(&home, &full).await;
    full.store(true, Ordering::SeqCst);
    let points = [conformance::point(
        "a",
        Resolution::Sample,
        Timestamp(1_700_000_000_000),
        &[],
    )];
    assert_full(store.record(&points).await);
    assert_full(Err::<(), _>(store.lost().await));
    assert_full(store.load().await);
    full.store(false, Ordering::SeqCst);
    store.load().await.expect("there is room");
    store.record(&points).await.expect("there is room");
}

#[tokio::test]
async fn while_it_is_closed_another_manager_may_take_it() {
    let home = TestHome::fresh().await;
    let full = Arc::new(AtomicBool::new(false));
    let store = store(&home, &full).await;
    full.store(true, Ordering::SeqCst);
    let value = put(setting("a", &"a".repeat(100_000)), 0);
    assert_full(store.commit(std::slice::from_ref(&value)).await);
    let other = home.open().await;
    let refused = store.commit(&[value]).await;
    assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
    drop(other);
}
