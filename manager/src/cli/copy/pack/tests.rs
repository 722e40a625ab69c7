use super::*;
use std::os::unix::{ffi::OsStringExt, fs::symlink, net::UnixListener};

async fn packed(packing: Packing) -> (Vec<u8>, Vec<String>) {
    let (mut pieces, thread) = pack(packing);
    let mut tar = Vec::new();
    while let Some(piece) = pieces.recv().await {
        tar.extend_from_slice(&piece);
    }
    (tar, thread.await.expect("it ends").expect("it is whole"))
}

fn packing(source: &Path, name: &str) -> Packing {
    Packing {
        source: source.to_owned(),
        name: name.into(),
        is_content: false,
        folder: "/data".into(),
        hidden: Vec::new(),
    }
}

/// Name, kind and link of each entry.
fn entries(tar: &[u8]) -> Vec<(Vec<u8>, EntryType, Vec<u8>)> {
    tar::Archive::new(tar)
        .entries()
        .expect("entries")
        .map(|entry| {
            let entry = entry.expect("readable");
            let link = entry.link_name_bytes().unwrap_or_default().into_owned();
            (
                entry.path_bytes().into_owned(),
                entry.header().entry_type(),
                link,
            )
        })
        .collect()
}

#[tokio::test]
async fn a_tar_holds_links_fifos_and_any_name_but_no_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let odd = OsString::from_vec(b"b\xff\n".to_vec());
    fs::write(root.join("a"), "x").expect("written");
    fs::hard_link(root.join("a"), root.join(&odd)).expect("linked");
    let long = "l".repeat(120);
    symlink(format!("../.././{long}/"), root.join("c")).expect("linked");
    fs::write(root.join(&long), "").expect("written");
    let fifo = (rustix::fs::FileType::Fifo, Mode::from(0o640));
    rustix::fs::mknodat(rustix::fs::CWD, root.join("p"), fifo.0, fifo.1, 0).expect("a FIFO");
    let _socket = UnixListener::bind(root.join("s")).expect("bound");

    let (tar, left_out) = packed(packing(root, "t")).await;
    let link = format!("../.././{long}/").into_bytes();
    assert_eq!(
        entries(&tar),
        [
            (b"t".to_vec(), EntryType::Directory, Vec::new()),
            (b"t/a".to_vec(), EntryType::Regular, Vec::new()),
            (b"t/b\xff\n".to_vec(), EntryType::Link, b"t/a".to_vec()),
            (b"t/c".to_vec(), EntryType::Symlink, link),
            (
                format!("t/{long}").into_bytes(),
                EntryType::Regular,
                Vec::new()
            ),
            (b"t/p".to_vec(), EntryType::Fifo, Vec::new()),
        ]
    );
    assert_eq!(
        left_out,
        [format!("`{}`: a socket", root.join("s").display())]
    );

    let content = Packing {
        is_content: true,
        ..packing(root, "")
    };
    assert_eq!(entries(&packed(content).await.0)[0].0, b"a");
    let hidden = HiddenMount {
        path: "/data/t/p".to_owned(),
        kind: "tmpfs".to_owned(),
    };
    let hidden = Packing {
        hidden: vec![hidden],
        ..packing(root, "t")
    };
    assert_eq!(packed(hidden).await.1.len(), 2, "the FIFO and the socket");
}

#[tokio::test]
async fn a_file_with_holes_is_packed_as_a_plain_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let sparse = folder.path().join("sparse");
    File::create(&sparse)
        .and_then(|file| file.set_len(1 << 20))
        .expect("made");
    let (tar, _) = packed(packing(&sparse, "sparse")).await;
    let mut archive = tar::Archive::new(tar.as_slice());
    let entry = archive
        .entries()
        .expect("entries")
        .next()
        .expect("one")
        .expect("readable");
    assert_eq!(
        (entry.header().entry_type(), entry.size()),
        (EntryType::Regular, 1 << 20)
    );
}

#[test]
fn a_file_that_becomes_shorter_keeps_the_tar_whole() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(3).expect("set");
    let mut content = Exact {
        file,
        left: 1000,
        shortened: None,
    };
    let mut read = Vec::new();
    content.read_to_end(&mut read).expect("read");
    assert_eq!((read.len(), content.shortened.is_some()), (1000, true));
}

#[test]
fn links_out_of_the_target_are_found() {
    for (target, depth, out) in [
        ("../x", 0, true),
        ("../x", 1, false),
        ("../../x", 1, true),
        ("a/../../x", 0, true),
        ("/etc/passwd", 0, false),
        ("/../x", 0, true),
    ] {
        assert_eq!(leads_out(Path::new(target), depth), out, "{target}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "12345").expect("written");
    symlink("../../x", folder.path().join("link")).expect("linked");
    let survey = Survey::of(folder.path(), Path::new("t")).expect("read");
    assert_eq!(
        survey,
        Survey {
            size: 5,
            escapes: true
        }
    );
}
