//! Copies that micado does otherwise than `docker cp`, and copies that need more than two paths.

use super::{Bed, OLD, script};
use micado_tests::{Outcome, tree, wait};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixListener,
    },
    path::Path,
    process::Stdio,
};
use tokio::process::Command;

/// Runs a command with this input.
async fn run(mut command: Command, arguments: &[&str], input: &[u8]) -> Outcome {
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        drop(stdin.write_all(&input).await);
    });
    child.wait_with_output().await.expect("its end").into()
}

pub(super) async fn check(bed: &Bed) {
    let here = bed.cluster.file("more");
    fs::create_dir(&here).expect("made");
    streams(bed).await;
    left_out(bed, &here).await;
    mounts(bed, &here).await;
    refusals(bed, &here).await;
    attributes(bed, &here).await;
    clashes(bed, &here).await;
    interrupted(bed, &here).await;
}

/// `-` is a tar, in both directions.
async fn streams(bed: &Bed) {
    let out =
        |name: &str, path: &str| vec!["cp".to_owned(), format!("{name}:{path}"), "-".to_owned()];
    for path in [
        "/sources/file",
        "/sources/folder",
        "/sources/folder/.",
        "sources/to-folder",
    ] {
        let mut lists = Vec::new();
        for (command, name) in [
            (bed.docker(), &bed.docker.id),
            (bed.micado(), &bed.ours.name),
        ] {
            let arguments = out(name, path);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut command = command;
            let tar = command.args(arguments).output().await.expect("it runs");
            assert!(tar.status.success(), "{tar:?}");
            lists.push(listed(&tar.stdout));
        }
        assert_eq!(lists[0], lists[1], "{path}");
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o640);
    header.set_uid(77);
    header.set_size(4);
    tar.append_data(&mut header, "below/name", &b"text"[..])
        .expect("written");
    let tar = tar.into_inner().expect("written");
    for side in [&bed.docker, &bed.ours] {
        script(&side.root, "mkdir -p in; ln -s in to-in; : >plain").await;
    }
    let mut codes = Vec::new();
    for target in ["in", "to-in/", "to-in", "plain", "nowhere"] {
        let (docker, ours) = (
            run(
                bed.docker(),
                &["cp", "-", &format!("{}:/{target}", bed.docker.id)],
                &tar,
            )
            .await,
            run(
                bed.micado(),
                &["cp", "-", &format!("{}:/{target}", bed.ours.name)],
                &tar,
            )
            .await,
        );
        assert_eq!(docker.code, ours.code, "{target}: {docker:?} {ours:?}");
        codes.push(ours.code);
    }
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(1), Some(1)]);
    assert_eq!(
        tree(&bed.docker.root.join("in"), OLD),
        tree(&bed.ours.root.join("in"), OLD)
    );
    assert_eq!(
        fs::read_to_string(bed.ours.root.join("in/below/name")).expect("there"),
        "text"
    );
    assert!(!Path::new("-").exists());
    let garbage = run(
        bed.micado(),
        &["cp", "-", &format!("{}:/in", bed.ours.name)],
        &[7; 2000],
    )
    .await;
    garbage.refused(1, &["Docker Engine says"]);
    let missing = run(
        bed.micado(),
        &["cp", &format!("{}:/none", bed.ours.name), "-"],
        b"",
    )
    .await;
    missing.refused(1, &["/none"]);
    assert_eq!(missing.stdout, "");
}

/// Names and kinds of a tar's entries.
fn listed(tar: &[u8]) -> Vec<(Vec<u8>, tar::EntryType, u64)> {
    tar::Archive::new(tar)
        .entries()
        .expect("a tar")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (
                entry.path_bytes().into_owned(),
                entry.header().entry_type(),
                entry.size(),
            )
        })
        .collect()
}

/// What a copy leaves out is said, by name and exit code; all else is copied.
async fn left_out(bed: &Bed, here: &Path) {
    let ours = &bed.ours;
    let into = here.join("odd");
    for folder in [&into, &ours.root.join("odd")] {
        fs::create_dir(folder).expect("made");
        script(
            folder,
            "printf x >z; ln -s ../../../x up; printf s >tool; chmod 6755 tool; mknod disk b 7 200",
        )
        .await;
        drop(UnixListener::bind(folder.join("socket")).expect("bound"));
    }
    let copy = bed
        .cluster
        .micado(&[
            "cp",
            &into.display().to_string(),
            &format!("{}:/t/odd", ours.name),
        ])
        .await;
    copy.refused(1, &["left out", "odd/socket`: a socket"]);
    let there = ours.root.join("t/odd");
    assert_eq!(
        fs::read_link(there.join("up")).expect("a link"),
        Path::new("../../../x")
    );
    assert_eq!(
        fs::metadata(there.join("tool")).expect("there").mode() & 0o7777,
        0o6755
    );
    assert!(
        there.join("z").is_file()
            && there
                .join("disk")
                .symlink_metadata()
                .expect("there")
                .file_type()
                .is_block_device()
    );
    let docker = run(
        bed.docker(),
        &[
            "cp",
            &into.display().to_string(),
            &format!("{}:/t/odd", bed.docker.id),
        ],
        b"",
    )
    .await;
    assert_eq!(
        docker.code,
        Some(1),
        "docker refuses links out of the folder: {docker:?}"
    );

    let back = here.join("odd-back");
    let from = format!("{}:/odd", ours.name);
    let copy = bed
        .cluster
        .micado(&["cp", &from, &back.display().to_string()])
        .await;
    copy.refused(
        1,
        &[
            "`/odd/socket`: a socket",
            "odd/disk`: a device",
            "without their setuid",
        ],
    );
    assert_eq!(
        fs::read_link(back.join("up")).expect("a link"),
        Path::new("../../../x")
    );
    assert_eq!(
        fs::metadata(back.join("tool")).expect("there").mode() & 0o7777,
        0o755
    );
    assert!(back.join("z").is_file() && !back.join("disk").exists());
    let alone = bed
        .cluster
        .micado(&["cp", &format!("{from}/socket"), &here.display().to_string()])
        .await;
    assert_eq!(alone.code, Some(1), "{alone:?}");
    assert!(!here.join("socket").exists());
}

/// Mounts: volumes are copied, and where no copy reaches it is refused.
async fn mounts(bed: &Bed, here: &Path) {
    let file = here.join("plain");
    fs::write(&file, "plain").expect("written");
    let (file, ours) = (file.display().to_string(), &bed.ours);
    fs::create_dir(ours.root.join("dev/shm/below")).expect("made");
    fs::write(ours.root.join("dev/shm/inside"), "x").expect("written");
    script(&ours.root, "ln -s /dev/shm to-shm").await;
    for path in [
        "/dev/shm",
        "/dev/shm/",
        "/dev/shm/x",
        "dev/shm/below/x",
        "/to-shm",
        "/to-shm/x",
    ] {
        let copy = bed
            .cluster
            .micado(&["cp", &file, &format!("{}:{path}", ours.name)])
            .await;
        copy.refused(1, &["/dev/shm", "no copy can see", "execute"]);
    }
    for path in [
        "/dev/shm/inside",
        "/dev/shm",
        "/to-shm/",
        "/to-shm/inside",
        "/proc/self/status",
    ] {
        let back = here.join("shm");
        let copy = bed
            .cluster
            .micado(&[
                "cp",
                &format!("{}:{path}", ours.name),
                &back.display().to_string(),
            ])
            .await;
        copy.refused(1, &["no copy can see", "execute"]);
        assert!(!back.exists());
    }
    let folder = here.join("shm-source");
    fs::create_dir_all(folder.join("shm")).expect("made");
    fs::write(folder.join("shm/x"), "x").expect("written");
    let content = format!("{}/.", folder.display());
    let copy = bed
        .cluster
        .micado(&["cp", &content, &format!("{}:/dev", ours.name)])
        .await;
    copy.refused(1, &["no copy can see"]);

    for side in [&bed.docker, &bed.ours] {
        let (program, name) = match std::ptr::eq(side, ours) {
            true => (bed.micado(), &side.name),
            false => (bed.docker(), &side.id),
        };
        let copy = run(program, &["cp", &file, &format!("{name}:/volume/x")], b"").await;
        assert_eq!(copy.code, Some(0), "{copy:?}");
    }
    assert_eq!(
        tree(&ours.root.join("volume"), OLD),
        tree(&bed.docker.root.join("volume"), OLD)
    );

    let fixed = &bed.read_only;
    let copy = bed
        .cluster
        .micado(&["cp", &file, &format!("{}:/", fixed.name)])
        .await;
    copy.refused(1, &["read-only"]);
    bed.cluster
        .micado(&["cp", &file, &format!("{}:/data", fixed.name)])
        .await
        .ok();
    assert_eq!(
        fs::read_to_string(fixed.root.join("data/plain")).expect("there"),
        "plain"
    );
    let back = here.join("from-volume").display().to_string();
    bed.cluster
        .micado(&["cp", &format!("{}:/data/plain", fixed.name), &back])
        .await
        .ok();
    bed.cluster
        .micado(&["cp", &format!("{}:/etc/hosts", ours.name), &back])
        .await
        .ok();
}

async fn refusals(bed: &Bed, here: &Path) {
    let (one, other) = (&bed.ours.name, &bed.docker.name);
    let path = here.display().to_string();
    let refused = async |arguments: &[&str], code, words: &[&str]| {
        let arguments = [&["cp"][..], arguments].concat();
        bed.cluster.micado(&arguments).await.refused(code, words);
    };
    refused(
        &[&format!("{one}:/in"), &format!("{other}:/in")],
        2,
        &["container to container"],
    )
    .await;
    refused(&[&path, &path], 2, &["NAME:PATH"]).await;
    refused(&["-", "-"], 2, &["NAME:PATH"]).await;
    refused(&[&path, &format!("{one}:")], 2, &["empty"]).await;
    refused(&[&path, "nobody:/in"], 1, &["nobody"]).await;
    refused(
        &[&path, &format!("{one}:/sources/void")],
        1,
        &["not a folder"],
    )
    .await;
    refused(&[&format!("{one}:/in"), "/dev/null"], 1, &["device"]).await;
    script(&bed.ours.root, "mknod null c 1 3").await;
    refused(
        &[&format!("{path}/plain"), &format!("{one}:/null")],
        1,
        &["device"],
    )
    .await;
}

/// Owners, extended attributes, and holes.
async fn attributes(bed: &Bed, here: &Path) {
    let ours = &bed.ours;
    let source = here.join("attributes");
    fs::write(&source, "x").expect("written");
    setxattr(&source, "user.colour", b"red", XattrFlags::empty()).expect("set");
    // Version 2 of capabilities: `cap_net_raw` permitted and effective.
    let capability: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(
        &source,
        "security.capability",
        &capability,
        XattrFlags::empty(),
    )
    .expect("set");
    let source = source.display().to_string();
    bed.cluster
        .micado(&["cp", &source, &format!("{}:/in/a", ours.name)])
        .await
        .ok();
    let there = ours.root.join("in/a");
    let read = |path: &Path, name| {
        let mut value = [0; 64];
        let length = getxattr(path, name, value.as_mut_slice()).ok()?;
        Some(value[..length].to_vec())
    };
    assert_eq!(read(&there, "user.colour").as_deref(), Some(&b"red"[..]));
    assert_eq!(
        read(&there, "security.capability").as_deref(),
        Some(&capability[..])
    );
    let docker = run(
        bed.docker(),
        &["cp", &source, &format!("{}:/in/a", bed.docker.id)],
        b"",
    )
    .await;
    assert_eq!(docker.code, Some(0), "{docker:?}");
    assert!(read(&bed.docker.root.join("in/a"), "security.capability").is_some());

    let back = here.join("attributes-back");
    let from = format!("{}:/in/a", ours.name);
    bed.cluster
        .micado(&["cp", &from, &back.display().to_string()])
        .await
        .ok();
    assert_eq!(
        read(&back, "security.capability"),
        None,
        "no right comes from a machine"
    );

    let owned = here.join("owned");
    let from = format!("{}:/sources/folder", ours.name);
    bed.cluster
        .micado(&["cp", "-a", &from, &owned.display().to_string()])
        .await
        .ok();
    for path in [owned.clone(), owned.join("a"), owned.join("link")] {
        let meta = path.symlink_metadata().expect("there");
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{path:?}");
    }
    let sparse = here.join("sparse");
    bed.cluster
        .micado(&[
            "cp",
            &format!("{}:/sources/sparse", ours.name),
            &sparse.display().to_string(),
        ])
        .await
        .ok();
    let meta = fs::metadata(&sparse).expect("there");
    assert_eq!(meta.len(), (3 << 20) + 3);
    assert!(meta.blocks() * 512 < 64 << 10, "{} blocks", meta.blocks());
}

/// A copy out of a container that meets a folder in place of a file changes nothing.
async fn clashes(bed: &Bed, here: &Path) {
    let target = here.join("clash");
    script(
        here,
        "mkdir -p clash/folder/void; printf old >clash/folder/a",
    )
    .await;
    let from = format!("{}:/sources/folder", bed.ours.name);
    let copy = bed
        .cluster
        .micado(&["cp", &from, &target.display().to_string()])
        .await;
    copy.refused(1, &["clash/folder/void` is a folder", "nothing was copied"]);
    assert_eq!(
        fs::read_to_string(target.join("folder/a")).expect("there"),
        "old"
    );
    assert_eq!(fs::read_dir(&target).expect("there").count(), 1);
}

/// An interrupted copy out of a container leaves nothing; one into it says what is there.
async fn interrupted(bed: &Bed, here: &Path) {
    let ours = &bed.ours;
    let huge = |path: &Path| {
        File::create(path)
            .and_then(|file| file.set_len(64 << 30))
            .expect("made");
    };
    huge(&ours.root.join("huge"));
    let target = here.join("cut");
    fs::create_dir(&target).expect("made");
    let from = format!("{}:/huge", ours.name);
    let copy = bed
        .cluster
        .start_micado(&["cp", &from, &target.display().to_string()]);
    let is_on = async || begun(&target).then_some(());
    wait("a copy is under way", 30, is_on).await;
    copy.kill("-INT").await;
    copy.end(b"", 20)
        .await
        .refused(130, &["nothing was copied"]);
    assert_eq!(fs::read_dir(&target).expect("there").count(), 0);

    let source = here.join("large");
    huge(&source);
    File::options()
        .append(true)
        .open(&source)
        .and_then(|mut file| file.write_all(b"end"))
        .expect("written");
    let into = format!("{}:/part", ours.name);
    let copy = bed
        .cluster
        .start_micado(&["cp", &source.display().to_string(), &into]);
    let there = ours.root.join("part");
    let is_on = async || {
        fs::metadata(&there)
            .is_ok_and(|meta| meta.len() > 1 << 20)
            .then_some(())
    };
    wait("a copy is under way", 30, is_on).await;
    copy.kill("-INT").await;
    copy.end(b"", 20).await.refused(130, &["may hold a part"]);
    drop(fs::remove_file(&source));
    drop(fs::remove_file(&there));
}

/// True once a file of a copy has been made, in its temporary folder.
fn begun(target: &Path) -> bool {
    let first = fs::read_dir(target)
        .ok()
        .and_then(|mut entries| entries.next());
    first.is_some_and(|aside| aside.is_ok_and(|aside| aside.path().join("entry").exists()))
}
