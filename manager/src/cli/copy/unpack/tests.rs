use super::{
    super::pack::{Packing, pack},
    *,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};
use tar::Header;

/// Entries of a tar that is not written by hand: name, kind, link and content.
fn tar(entries: &[(&str, EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, link, content) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_link_name_literal(link).expect("short");
        header.set_mode(0o6755);
        header.set_uid(1);
        header.set_gid(1);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).expect("written");
    }
    tar.into_inner().expect("written")
}

async fn taken(folder: &Path, asked: Option<&str>, tar: &[u8]) -> Result<Unpacked, Untaken> {
    let (to, thread) = unpack(Unpacking {
        folder: folder.to_owned(),
        asked: asked.map(OsString::from),
        owners: false,
    });
    for piece in tar.chunks(700) {
        // It is not taken to its end when it is refused.
        drop(to.send(Bytes::copy_from_slice(piece)).await);
    }
    drop(to);
    thread.await.expect("no panic")
}

const FILE: EntryType = EntryType::Regular;

#[tokio::test]
async fn m4_only_what_was_asked_for_is_taken() {
    for tar in [
        tar(&[("page", FILE, "", "x"), (".bashrc", FILE, "", "x")]),
        tar(&[("page/../.bashrc", FILE, "", "x")]),
        tar(&[("/.bashrc", FILE, "", "x")]),
        tar(&[("", FILE, "", "x")]),
        tar(&[("page", EntryType::Link, ".bashrc", "")]),
        tar(&[("page/own", EntryType::Link, "page/../../.bashrc", "")]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = taken(folder.path(), Some("page"), &tar).await;
        assert!(matches!(refused, Err(Untaken::Other(_))), "{refused:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = taken(folder.path(), Some("page"), &[0; 1024]).await;
    assert!(!nothing.expect("taken").any);
    let content = tar(&[("./a", FILE, "", "x"), ("b", FILE, "", "x")]);
    assert!(taken(folder.path(), None, &content).await.is_ok());
    assert!(folder.path().join("entry/a").is_file() && folder.path().join("entry/b").is_file());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let outside = tempfile::tempdir().expect("a folder");
    let outside = outside.path().to_str().expect("text");
    for tar in [
        tar(&[
            ("page", EntryType::Symlink, outside, ""),
            ("page/x", FILE, "", "x"),
        ]),
        tar(&[
            ("page", EntryType::Directory, "", ""),
            ("page/to", EntryType::Symlink, outside, ""),
            ("page/to", EntryType::Directory, "", ""),
            ("page/to/x", FILE, "", "x"),
        ]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = taken(folder.path(), Some("page"), &tar).await;
        assert!(matches!(refused, Err(Untaken::Failed(_))), "{refused:?}");
        assert_eq!(fs::read_dir(outside).expect("there").count(), 0);
    }
    // A link is exchanged for a file, and not written to.
    let folder = tempfile::tempdir().expect("a folder");
    let target = format!("{outside}/x");
    let exchanged = tar(&[
        ("page", EntryType::Symlink, &target, ""),
        ("page", FILE, "", "x"),
    ]);
    assert!(taken(folder.path(), Some("page"), &exchanged).await.is_ok());
    assert!(
        folder
            .path()
            .join("entry")
            .symlink_metadata()
            .expect("there")
            .is_file()
    );
    assert!(!Path::new(&target).exists());
}

#[tokio::test]
async fn devices_and_setuid_bits_are_not_taken_and_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let tar = tar(&[
        ("t", EntryType::Directory, "", ""),
        ("t/tool", FILE, "", "x"),
        ("t/disk", EntryType::Block, "", ""),
    ]);
    let done = taken(folder.path(), Some("t"), &tar).await.expect("taken");
    assert_eq!(done.left_out, ["`t/disk`: a device"]);
    assert_eq!(done.weakened, 1);
    let mode = fs::metadata(folder.path().join("entry/tool"))
        .expect("there")
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[tokio::test]
async fn a_tar_that_ends_early_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let tar = tar(&[("page", FILE, "", &"x".repeat(2000))]);
    let cut = taken(folder.path(), Some("page"), &tar[..1500]).await;
    assert!(matches!(cut, Err(Untaken::Failed(_))), "{cut:?}");
}

#[tokio::test]
async fn files_come_back_as_they_went() {
    let root = tempfile::tempdir().expect("a folder");
    let (source, aside) = (root.path().join("source"), root.path().join("aside"));
    fs::create_dir_all(source.join("below")).expect("made");
    fs::create_dir(&aside).expect("made");
    fs::write(source.join("below/tool"), vec![7; 100_000]).expect("written");
    let mode = fs::Permissions::from_mode(0o741);
    fs::set_permissions(source.join("below/tool"), mode).expect("set");
    fs::hard_link(source.join("below/tool"), source.join("twin")).expect("linked");
    symlink("../../below/tool", source.join("link")).expect("linked");
    let sparse = fs::File::create(source.join("sparse")).expect("made");
    sparse.set_len(1 << 20).expect("set");
    let mode = fs::Permissions::from_mode(0o500);
    fs::set_permissions(source.join("below"), mode).expect("set");

    let (mut pieces, packing) = pack(Packing {
        source: source.clone(),
        name: "copy".into(),
        is_content: false,
        folder: "/".into(),
        hidden: Vec::new(),
    });
    let (to, unpacking) = unpack(Unpacking {
        folder: aside.clone(),
        asked: Some("copy".into()),
        owners: false,
    });
    while let Some(piece) = pieces.recv().await {
        to.send(piece).await.expect("it takes all");
    }
    drop(to);
    assert!(packing.await.expect("no panic").expect("packed").is_empty());
    let done = unpacking.await.expect("no panic").expect("unpacked");
    let copy = aside.join(ENTRY);
    done.folders.settle(&copy, false).expect("set");

    let meta = |path: &Path| path.symlink_metadata().expect("there");
    for name in ["", "below", "below/tool", "twin", "sparse"] {
        let (from, to) = (meta(&source.join(name)), meta(&copy.join(name)));
        assert_eq!(
            (from.mode(), from.mtime(), from.nlink()),
            (to.mode(), to.mtime(), to.nlink()),
            "{name}"
        );
    }
    assert_eq!(
        meta(&copy.join("twin")).ino(),
        meta(&copy.join("below/tool")).ino()
    );
    assert_eq!(
        fs::read(copy.join("twin")).expect("there"),
        vec![7; 100_000]
    );
    assert_eq!(
        fs::read_link(copy.join("link")).expect("a link"),
        Path::new("../../below/tool")
    );
    let sparse = meta(&copy.join("sparse"));
    assert_eq!((sparse.len(), sparse.blocks()), (1 << 20, 0), "a hole");
}
