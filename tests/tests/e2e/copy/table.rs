//! Copies that both programs do alike.

use super::{Bed, OLD, Side, script};
use micado_tests::{Tree, tree};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Stdio};
use tokio::process::Command;

/// Entries to copy, in a folder that is in the container and here.
const SOURCES: &str = r#"
umask 022
printf one >file; chmod 640 file
mkdir -p folder/sub folder/none
printf a >folder/a; printf b >folder/sub/b; ln folder/a folder/sub/twin
ln -s a folder/link; ln -s /etc/none folder/absolute; ln -s ../a folder/sub/up
mkfifo folder/fifo; : >folder/void; printf x >'folder/with blank'
printf x >$'folder/new\nline'; printf x >$'folder/\xff\xfe'; printf x >folder/-dash
long=$(printf 'l%.0s' {1..120}); mkdir folder/$long; printf x >folder/$long/$long
ln -s $long/$long folder/long-link
ln -s file to-file; ln -s folder to-folder; ln -s nowhere broken
mkdir void-folder; : >void; printf d >-dash; printf x >$'new\nline'; mkfifo fifo
truncate -s 3M sparse; printf end >>sparse
chown -R 1234:2345 file folder; chmod 1777 folder/none; chmod 500 folder/sub
find . -exec touch -h -d @1000000000 {} +
"#;

/// The targets `t` of a case.
const TARGETS: [(&str, &str); 8] = [
    ("missing", ":"),
    ("file", "printf old >t"),
    ("folder", "mkdir t; printf old >t/old; printf old >t/file"),
    ("full", "mkdir -p t/folder/a; printf old >t/a"),
    ("to-file", "printf old >real; ln -s real t"),
    (
        "to-folder",
        "mkdir real; printf old >real/old; ln -s real t",
    ),
    ("to-nothing", "ln -s new t"),
    ("fifo", "mkfifo t"),
];

/// Targets, and paths that name them.
const PATHS: [(usize, &str); 16] = [
    (0, "t"),
    (2, "t"),
    (5, "t"),
    (0, "t/"),
    (1, "t"),
    (3, "t"),
    (2, "t/."),
    (0, "t/."),
    (0, "none/t"),
    (1, "t/"),
    (2, "t/"),
    (2, "t/../t"),
    (4, "t"),
    (5, "t/"),
    (6, "t"),
    (7, "t"),
];

/// A copy. Its target is in a folder of its own.
struct Case {
    flags: &'static str,
    source: &'static str,
    target: usize,
    path: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |flags, source, target, path| Case {
        flags,
        source,
        target,
        path,
    };
    let mut all = Vec::new();
    for (source, targets) in [
        ("file", &PATHS[..]),
        ("folder", &PATHS[..]),
        ("folder/.", &PATHS[..8]),
        ("to-folder", &PATHS[..3]),
        ("folder/", &PATHS[..3]),
        ("to-folder/", &PATHS[..3]),
    ] {
        for (target, path) in targets {
            all.push(case("", source, *target, path));
        }
    }
    for source in [
        "to-file",
        "broken",
        "missing",
        "file/",
        "file/.",
        "to-file/",
        "to-folder/.",
        "void-folder",
        "sparse",
        "fifo",
        "-dash",
        "new\nline",
        "folder/sub/../a",
        "folder/a/../link",
        "./folder/sub/twin",
        "missing/x",
    ] {
        all.push(case("", source, 2, "t"));
    }
    for source in ["to-file", "to-folder/", "broken"] {
        all.push(case("-L", source, 0, "t"));
    }
    for source in ["to-folder", "to-folder/."] {
        all.push(case("--follow-link", source, 2, "t/"));
    }
    all
}

/// Compares all copies, in both directions.
pub(super) async fn compare(bed: &Bed) {
    let here = bed.cluster.file("copies");
    fs::create_dir_all(here.join("sources")).expect("made");
    script(&here.join("sources"), SOURCES).await;
    let cases = cases();
    let (docker, ours) = tokio::join!(
        run(bed, &bed.docker, true, &cases, &here),
        run(bed, &bed.ours, false, &cases, &here),
    );
    let mut differences = String::new();
    let mut successes = 0;
    for (name, docker) in &docker {
        let ours = &ours[name];
        successes += usize::from(docker.code == 0);
        if (docker.code == 0) != (ours.code == 0) {
            _ = writeln!(
                differences,
                "{name}: docker {} `{}`, micado {} `{}`",
                docker.code, docker.words, ours.code, ours.words
            );
        } else if docker.code != 0 && ours.code != 1 {
            _ = writeln!(differences, "{name}: exit code {}", ours.code);
        }
        // A refusal of `docker cp` may come midway. A refusal of micado changes nothing here.
        if docker.code == 0 && docker.tree != ours.tree {
            _ = writeln!(
                differences,
                "{name}: {}",
                difference(&docker.tree, &ours.tree)
            );
        }
    }
    println!(
        "measured: {} copies by both, {successes} that docker does",
        docker.len()
    );
    assert!(successes > 70 && docker.len() - successes > 25);
    assert!(differences.is_empty(), "\n{differences}");
}

/// Result of a copy.
struct Done {
    code: i32,
    words: String,
    tree: Tree,
}

/// Copies all, into the container and out of it, by one program.
async fn run(
    bed: &Bed,
    side: &Side,
    is_docker: bool,
    cases: &[Case],
    here: &Path,
) -> BTreeMap<String, Done> {
    let own = here.join(if is_docker { "docker" } else { "ours" });
    let there = side.root.join("t");
    fs::create_dir_all(&own).expect("made");
    fs::create_dir_all(&there).expect("made");
    fs::create_dir_all(side.root.join("sources")).expect("made");
    script(&side.root.join("sources"), SOURCES).await;
    let name = if is_docker { &side.id } else { &side.name };
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for (is_into, folder) in [(true, &there), (false, &own)] {
        let mut made = String::from("umask 022\n");
        for (number, case) in cases.iter().enumerate() {
            _ = writeln!(
                made,
                "mkdir {number}; (cd {number}; {})",
                TARGETS[case.target].1
            );
            let path = format!("{number}/{}", case.path);
            let (source, target) = match is_into {
                true => (
                    format!("{}/sources/{}", here.display(), case.source),
                    format!("{name}:/t/{path}"),
                ),
                // A relative path begins at the container's root.
                false => (
                    format!("{name}:sources/{}", case.source),
                    format!("{}/{path}", own.display()),
                ),
            };
            let way = if is_into { "into" } else { "out" };
            let target_kind = TARGETS[case.target].0;
            names.push((
                format!(
                    "{way} #{number} {} {:?} -> {} ({target_kind})",
                    case.flags, case.source, case.path
                ),
                folder.join(number.to_string()),
            ));
            lines.extend([case.flags.to_owned(), source, target]);
        }
        script(folder, &made).await;
    }
    let outcomes = all(bed, is_docker, &lines).await;
    names
        .into_iter()
        .zip(outcomes)
        .map(|((name, folder), (code, words))| {
            let tree = tree(&folder, OLD);
            (name, Done { code, words, tree })
        })
        .collect()
}

/// Runs copies one after the other in one shell: flags, source and target of each. Returns exit
/// codes and messages.
async fn all(bed: &Bed, is_docker: bool, lines: &[String]) -> Vec<(i32, String)> {
    const LOOP: &str = r#"while (($#)); do
        words=$("$PROGRAM" cp $1 -- "$2" "$3" 2>&1 </dev/null); printf '%s\0%s\0' $? "$words"
        shift 3
    done"#;
    let program = if is_docker {
        bed.docker()
    } else {
        bed.micado()
    };
    let program = program.as_std();
    let mut bash = Command::new("bash");
    bash.args(["-c", LOOP, "bash"])
        .args(lines)
        .envs(
            program
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .env("PROGRAM", program.get_program())
        .stdin(Stdio::null());
    let output = bash.output().await.expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields: Vec<&str> = text.split('\0').collect();
    fields
        .chunks_exact(2)
        .map(|pair| (pair[0].parse().expect("a code"), pair[1].to_owned()))
        .collect()
}

/// Entries that differ.
fn difference(docker: &Tree, ours: &Tree) -> String {
    let mut text = String::new();
    for path in docker.keys().chain(ours.keys()) {
        if docker.get(path) != ours.get(path) {
            _ = write!(
                text,
                "\n    {path}: docker {:?}, micado {:?}",
                docker.get(path),
                ours.get(path)
            );
        }
    }
    text
}
