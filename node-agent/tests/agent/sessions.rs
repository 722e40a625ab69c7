//! Sessions on real containers: commands, copies and logs, with their ends, cuts and bounds.

use crate::{
    bed::{Bed, with_agent},
    manager::{Agent, Outcome, PATIENCE, Session},
};
use bytes::Bytes;
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME, SessionNote, SessionWork, channel};
use micado_node_agent::session::MOST;
use sha2::{Digest, Sha256};
use std::{
    io::Read,
    time::{Duration, Instant},
};

const MIB: usize = 1 << 20;
const PIECE: usize = 64 << 10;

fn exec(container: &str, script: &str, terminal: bool) -> SessionWork {
    let command = ["bash", "-c", script].map(str::to_owned).to_vec();
    SessionWork::Exec {
        container: container.to_owned(),
        command,
        terminal,
        environment: vec!["GREETING=hello".to_owned(), "TERM=xterm".to_owned()],
    }
}

/// Runs a script to its end.
async fn run(bed: &Bed, agent: &mut Agent, container: &str, script: &str) -> Outcome {
    let mut session = bed
        .manager
        .session(agent, exec(container, script, false))
        .await;
    session.note(&SessionNote::End).await;
    session.outcome().await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[tokio::test]
async fn exec_with_pipes() {
    with_agent(1000, async |bed, agent| {
        let id = bed.shell().await;
        let done = run(bed, agent, &id, "echo $GREETING; echo problem >&2; exit 7").await;
        assert_eq!(
            (text(&done.out), text(&done.err), done.last),
            (
                "hello".to_owned(),
                "problem".to_owned(),
                Some(SessionNote::Exit { code: 7 })
            )
        );

        let mut session = bed.manager.session(agent, exec(&id, "wc -c", false)).await;
        for _ in 0..INPUT_AHEAD {
            session.input(&[7; INPUT_FRAME]).await;
        }
        session.note(&SessionNote::End).await;
        let done = session.outcome().await;
        assert_eq!(
            (text(&done.out).as_str(), done.last),
            ("524288", Some(SessionNote::Exit { code: 0 }))
        );

        let work = SessionWork::Exec {
            container: id.clone(),
            command: vec!["no-such-program".to_owned()],
            terminal: false,
            environment: Vec::new(),
        };
        let done = bed.manager.session(agent, work).await.outcome().await;
        assert!(
            matches!(done.last, Some(SessionNote::Exit { code: 126 | 127 })),
            "{done:?}"
        );
        let done = bed
            .manager
            .session(agent, exec("no-such-container", "true", false))
            .await
            .outcome()
            .await;
        let Some(SessionNote::Failed { message }) = done.last else {
            panic!("{done:?}")
        };
        assert!(message.contains("No such container"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn exec_with_a_terminal() {
    with_agent(1000, async |bed, agent| {
        let id = bed.shell().await;
        // `read -t` would drop what it has read of a line when its time is up.
        let command = "tty; echo ready
            until [ \"$(stty size)\" = '45 123' ]; do sleep 0.05; done
            echo resized; while read line; do echo got $line; done";
        let mut session = bed.manager.session(agent, exec(&id, command, true)).await;
        session.resize(91, 37).await;
        session.until("ready").await;
        session.resize(123, 45).await;
        session.until("resized").await;
        session.input(b"some words\n").await;
        session.until("got some words").await;
        // Ctrl-C, as a key.
        session.input(&[3]).await;
        let done = session.outcome().await;
        assert_eq!(done.last, Some(SessionNote::Exit { code: 130 }));
    })
    .await;
}

#[tokio::test]
async fn signals_reach_the_command_and_what_it_called() {
    with_agent(1000, async |bed, agent| {
        let id = bed.shell().await;
        let mut session = bed
            .manager
            .session(
                agent,
                exec(
                    &id,
                    "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done",
                    false,
                ),
            )
            .await;
        session.until("ready").await;
        session
            .note(&SessionNote::Signal {
                name: "USR1".to_owned(),
            })
            .await;
        let done = session.outcome().await;
        assert_eq!(
            (text(&done.out).as_str(), done.last),
            ("caught", Some(SessionNote::Exit { code: 5 }))
        );
        let mut session = bed
            .manager
            .session(agent, exec(&id, "echo ready; sleep 1000; echo $?", false))
            .await;
        session.until("ready").await;
        session
            .note(&SessionNote::Signal {
                name: "INT".to_owned(),
            })
            .await;
        assert_eq!(
            session.outcome().await.last,
            Some(SessionNote::Exit { code: 130 })
        );
    })
    .await;
}

/// Waits until no process of this name runs in the container.
async fn gone(bed: &Bed, agent: &mut Agent, id: &str, name: &str) {
    let start = Instant::now();
    loop {
        // The brackets keep the pattern from matching itself.
        let done = run(
            bed,
            agent,
            id,
            &format!(
                "grep -l '[{}]{}' /proc/[0-9]*/cmdline 2>/dev/null | wc -l",
                &name[..1],
                &name[1..]
            ),
        )
        .await;
        if text(&done.out) == "0" {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "`{name}` still runs: {done:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_cut_ends_the_command_and_leaves_nothing() {
    with_agent(60_000, async |bed, agent| {
        let id = bed.shell().await;
        drop(run(bed, agent, &id, "true").await);
        let files = bed.open_files();
        // End of input: the rest is written, and the command ends by itself.
        let mut session = bed
            .manager
            .session(
                agent,
                exec(&id, "echo ready; cat >/kept; echo whole >>/kept", false),
            )
            .await;
        session.input(b"some words\n").await;
        session.until("ready").await;
        drop(session);
        gone(bed, agent, &id, "cat >/kept").await;
        assert_eq!(
            text(&run(bed, agent, &id, "cat /kept").await.out),
            "some words\nwhole"
        );
        // A command that ignores that gets a hang-up, on a terminal at once.
        for terminal in [false, true] {
            let mut session = bed
                .manager
                .session(agent, exec(&id, "echo ready; exec sleep 12345", terminal))
                .await;
            session.until("ready").await;
            drop(session);
            gone(bed, agent, &id, "sleep\\x0012345").await;
        }
        // A command that floods a caller who does not read and is then cut.
        let mut session = bed
            .manager
            .session(agent, exec(&id, "echo ready; exec cat /dev/zero", false))
            .await;
        session.until("ready").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(session);
        gone(bed, agent, &id, "cat\\x00/dev/zero").await;
        let start = Instant::now();
        while bed.open_files() > files {
            assert!(
                start.elapsed() < PATIENCE,
                "{} files are open, there were {files}",
                bed.open_files()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// A command that reads nothing, with the flow-control window filled.
async fn stuck(bed: &Bed, agent: &mut Agent, id: &str, terminal: bool) -> Session {
    let mut session = bed
        .manager
        .session(agent, exec(id, "echo ready; exec sleep 23456", terminal))
        .await;
    session.until("ready").await;
    for _ in 0..INPUT_AHEAD {
        session.input(&[7; INPUT_FRAME]).await;
    }
    session
}

#[tokio::test]
async fn input_that_nobody_reads_keeps_nothing_from_the_command() {
    with_agent(60_000, async |bed, agent| {
        let id = bed.shell().await;
        let mut session = stuck(bed, agent, &id, false).await;
        session.note(&SessionNote::Signal { name: "INT".to_owned() }).await;
        assert_eq!(session.outcome().await.last, Some(SessionNote::Exit { code: 130 }));
        for terminal in [false, true] {
            drop(stuck(bed, agent, &id, terminal).await);
            gone(bed, agent, &id, "sleep\\x0023456").await;
        }
        let mut session = stuck(bed, agent, &id, false).await;
        for _ in 0..INPUT_AHEAD {
            session.input(&[7; INPUT_FRAME]).await;
        }
        let mut one = bed.manager.session(agent, exec(&id, "exec sleep 23456", false)).await;
        one.input(&[7; INPUT_FRAME + 1]).await;
        for session in [session, one] {
            let last = session.outcome().await.last;
            assert!(matches!(&last, Some(SessionNote::Failed { message }) if message.contains("8 frames of 64 KiB")), "{last:?}");
        }
        gone(bed, agent, &id, "sleep\\x0023456").await;
    })
    .await;
}

#[tokio::test]
async fn fifty_commands_that_read_nothing_cost_what_their_input_may_be() {
    with_agent(60_000, async |bed, agent| {
        let id = bed.shell().await;
        let mut sessions = Vec::new();
        for _ in 0..MOST {
            sessions.push(stuck(bed, agent, &id, false).await);
        }
        // Each session reports its end only after the agent has taken all of its input.
        for session in &mut sessions {
            session.note(&SessionNote::Signal { name: "KILL".to_owned() }).await;
        }
        for session in sessions {
            assert_eq!(session.outcome().await.last, Some(SessionNote::Exit { code: 137 }));
        }
        let most = bed.memory_kib("VmHWM") >> 10;
        println!("50 commands that read nothing: the agent's memory was at most {most} MiB, and is {} MiB then", bed.memory_kib("VmRSS") >> 10);
        let input = MOST * INPUT_AHEAD * INPUT_FRAME / MIB;
        assert!(most as usize <= input + input / 2, "{most} MiB, for {input} MiB of input");
    })
    .await;
}

/// A tar with one file of this many MiB with unique pieces, as header, file and end.
fn archive(mib: usize) -> Vec<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_path("noise").expect("a name");
    header.set_size((mib * MIB) as u64);
    header.set_mode(0o640);
    header.set_uid(1234);
    header.set_gid(2345);
    header.set_cksum();
    let mut pieces = vec![Bytes::copy_from_slice(header.as_bytes())];
    let noise: Vec<u8> = (0..PIECE / 16)
        .flat_map(|_| rand::random::<u128>().to_le_bytes())
        .collect();
    for number in 0..mib * MIB / PIECE {
        let mut piece = noise.clone();
        piece[..8].copy_from_slice(&number.to_le_bytes());
        piece.rotate_left(number % PIECE);
        pieces.push(piece.into());
    }
    pieces.push(Bytes::from_static(&[0; 1024]));
    pieces
}

async fn send(session: &mut Session, pieces: &[Bytes]) {
    for piece in pieces {
        session.input(piece).await;
    }
    session.note(&SessionNote::End).await;
}

#[tokio::test]
async fn a_hundred_mebibytes_there_and_back() {
    with_agent(60_000, async |bed, agent| {
        let id = bed.shell().await;
        let pieces = archive(100);
        let before = bed.memory_kib("VmRSS");
        let start = Instant::now();
        let mut session = bed.manager.session(agent, SessionWork::CopyTo { container: id.clone(), path: "/srv".to_owned(), archive: false }).await;
        send(&mut session, &pieces).await;
        assert_eq!(session.outcome().await.last, Some(SessionNote::Exit { code: 0 }));
        let there = start.elapsed();
        assert_eq!(text(&run(bed, agent, &id, "stat -c '%u %g %a %s' /srv/noise").await.out), "1234 2345 640 104857600", "owners and modes are kept");
        let sum = text(&run(bed, agent, &id, "sha256sum </srv/noise").await.out);

        let start = Instant::now();
        let mut session = bed.manager.session(agent, SessionWork::CopyFrom { container: id.clone(), path: "/srv/noise".to_owned() }).await;
        let (mut outcome, mut tar) = (Outcome::default(), Vec::with_capacity(101 * MIB));
        while let Some((on, data)) = session.next(&mut outcome).await {
            assert_eq!(on, channel::OUT);
            tar.extend_from_slice(&data);
        }
        let back = start.elapsed();
        assert_eq!(outcome.last, Some(SessionNote::Exit { code: 0 }));
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entry = archive.entries().expect("a tar").next().expect("an entry").expect("a good one");
        let header = entry.header();
        assert_eq!((header.uid().expect("owner"), header.gid().expect("group"), header.mode().expect("mode") & 0o777), (1234, 2345, 0o640));
        let mut noise = Vec::new();
        entry.read_to_end(&mut noise).expect("read");
        let ours: String = Sha256::digest(&noise).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum.split(' ').next(), Some(ours.as_str()), "the container has the same");
        assert!(noise.chunks(PIECE).eq(pieces[1..pieces.len() - 1].iter()), "what comes back is what went there");
        let grown = bed.memory_kib("VmHWM").saturating_sub(before);
        println!("100 MiB there in {there:?}, back in {back:?}; the agent's memory grew by at most {grown} KiB");
        assert!(grown < 6 * 1024, "the agent's memory grew by {grown} KiB");
    })
    .await;
}

#[tokio::test]
async fn copies_that_cannot_be_done_say_why() {
    with_agent(1000, async |bed, agent| {
        let id = bed.shell().await;
        let mut session = bed
            .manager
            .session(
                agent,
                SessionWork::CopyTo {
                    container: id.clone(),
                    path: "/no/such".to_owned(),
                    archive: false,
                },
            )
            .await;
        send(&mut session, &archive(1)).await;
        for (session, path) in [
            (session, "/no/such"),
            (
                bed.manager
                    .session(
                        agent,
                        SessionWork::CopyFrom {
                            container: id.clone(),
                            path: "/none".to_owned(),
                        },
                    )
                    .await,
                "/none",
            ),
        ] {
            let Some(SessionNote::Failed { message }) = session.outcome().await.last else {
                panic!("{path} is not there")
            };
            assert!(message.contains("Docker Engine says"), "{message}");
        }
        // Cut in the middle: the engine must not accept it as complete, and the agent continues.
        let mut session = bed
            .manager
            .session(
                agent,
                SessionWork::CopyTo {
                    container: id.clone(),
                    path: "/srv".to_owned(),
                    archive: false,
                },
            )
            .await;
        for piece in &archive(4)[..30] {
            session.input(piece).await;
        }
        drop(session);
        assert_eq!(text(&run(bed, agent, &id, "echo on").await.out), "on");
    })
    .await;
}

/// A container of a Swarm service that prints and ends, as the Swarm makes one for each run.
async fn ended_run(bed: &Bed, name: &str) {
    let image =
        std::env::var("MICADO_NODE_IMAGE").unwrap_or_else(|_| "micado-node:latest".to_owned());
    let script = format!("for n in 1 2 3; do echo {name} $n; echo problem $n >&2; done; exit 3");
    let id = bed
        .container(serde_json::json!({ "Image": image, "Entrypoint": ["bash", "-c", script] }))
        .await;
    bed.call(hyper::Method::POST, &format!("/containers/{id}/wait"))
        .await;
}

#[tokio::test]
async fn the_log_of_the_run_before() {
    with_agent(60_000, async |bed, agent| {
        let previous = |tail, since, timestamps| SessionWork::PreviousLog {
            service: bed.service.clone(),
            tail,
            since,
            timestamps,
        };
        // A running container is not an ended run.
        bed.shell().await;
        let done = bed
            .manager
            .session(agent, previous(None, None, false))
            .await
            .outcome()
            .await;
        assert_eq!(
            (done.out.len() + done.err.len(), done.last),
            (0, Some(SessionNote::Exit { code: 1 }))
        );

        ended_run(bed, "one").await;
        // The engine distinguishes runs by the second of their creation.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        ended_run(bed, "two").await;
        bed.shell().await;
        let done = bed
            .manager
            .session(agent, previous(None, None, false))
            .await
            .outcome()
            .await;
        assert_eq!(
            (text(&done.out).as_str(), text(&done.err).as_str()),
            ("two 1\ntwo 2\ntwo 3", "problem 1\nproblem 2\nproblem 3")
        );
        assert_eq!(done.last, Some(SessionNote::Exit { code: 0 }));
        let done = bed
            .manager
            .session(agent, previous(Some(1), None, false))
            .await
            .outcome()
            .await;
        assert_eq!(
            [done.out, done.err]
                .concat()
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            1,
            "one line"
        );
        let done = bed
            .manager
            .session(agent, previous(None, Some(4_000_000_000), false))
            .await
            .outcome()
            .await;
        assert_eq!(
            (done.out.len() + done.err.len(), done.last),
            (0, Some(SessionNote::Exit { code: 0 })),
            "nothing is so late"
        );
        let done = bed
            .manager
            .session(agent, previous(None, None, true))
            .await
            .outcome()
            .await;
        assert!(
            text(&done.out).lines().all(|line| line.contains("Z two ")),
            "{done:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn fifty_at_once_and_the_next_is_told() {
    with_agent(1000, async |bed, agent| {
        let id = bed.shell().await;
        let mut sessions = Vec::new();
        for _ in 0..MOST {
            sessions.push(
                bed.manager
                    .session(agent, exec(&id, "read line; echo got $line", false))
                    .await,
            );
        }
        let done = bed
            .manager
            .session(agent, exec(&id, "true", false))
            .await
            .outcome()
            .await;
        let Some(SessionNote::Failed { message }) = done.last else {
            panic!("{done:?}")
        };
        assert!(message.contains("50 sessions"), "{message}");
        for (n, session) in sessions.iter_mut().enumerate() {
            session.input(format!("{n}\n").as_bytes()).await;
        }
        for (n, session) in sessions.into_iter().enumerate() {
            let done = session.outcome().await;
            assert_eq!(
                (text(&done.out), done.last),
                (format!("got {n}"), Some(SessionNote::Exit { code: 0 }))
            );
        }
        println!(
            "50 sessions at once: the agent's memory was at most {} KiB",
            bed.memory_kib("VmHWM")
        );
    })
    .await;
}
