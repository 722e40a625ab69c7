//! `micado execute`, with its command's input and output: nothing is lost, and nothing keeps a
//! person from ending it.

use super::{Ended, Rote};
use axum::{
    Router,
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    routing::get,
};
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME, SessionNote};
use std::{
    io::{PipeReader, Read},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::timeout,
};

const PIECE: usize = 32 << 10;
/// Capacity of a pipe without a reader.
const PIPE: usize = 64 << 10;
const PAGE: usize = 4 << 10;

/// A manager with one session that begins with output; the test continues it.
fn manager() -> (Rote, oneshot::Receiver<WebSocket>) {
    let (open, opened) = oneshot::channel();
    let open = Arc::new(Mutex::new(Some(open)));
    let exec = async move |upgrade: WebSocketUpgrade| {
        let open = open.lock().expect("lock").take().expect("one session");
        upgrade.on_upgrade(async |mut socket| {
            socket
                .send(Message::binary(b"\x01up".as_slice()))
                .await
                .expect("sent");
            assert!(open.send(socket).is_ok());
        })
    };
    (
        Rote::new(Router::new().route("/v1/containers/{name}/exec", get(exec))),
        opened,
    )
}

/// Runs the CLI until its command runs.
async fn running(rote: &Rote) -> Child {
    let mut command = rote.command("execute -n c -c sleep 100000");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut up = [0; 2];
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut up)
        .await
        .expect("output");
    assert_eq!(&up, b"up");
    child
}

/// Writes input until it blocks.
async fn flood(child: &mut Child) {
    let stdin = child.stdin.as_mut().expect("piped");
    while let Ok(written) = timeout(Duration::from_secs(1), stdin.write(&[7; PIECE])).await {
        written.expect("it lives");
    }
}

async fn kill(child: &Child, signal: &str) {
    let pid = child.id().expect("it still runs").to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .await
            .expect("kill")
            .success()
    );
}

/// Forwards received frames until the connection ends.
fn frames(mut socket: WebSocket) -> mpsc::UnboundedReceiver<Message> {
    let (to, frames) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = socket.recv().await
            && to.send(frame).is_ok()
        {}
    });
    frames
}

async fn ended(child: Child) -> Ended {
    timeout(Duration::from_secs(10), child.wait_with_output())
        .await
        .expect("it ends")
        .expect("readable")
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gets_past_input_that_nobody_reads_and_a_second_ends_us() {
    let (rote, opened) = manager();
    let mut child = running(&rote).await;
    let mut frames = frames(opened.await.expect("a session"));
    flood(&mut child).await;
    for _ in 0..INPUT_AHEAD {
        assert!(
            matches!(frames.recv().await, Some(Message::Binary(frame)) if frame[0] == 0 && frame.len() <= 1 + INPUT_FRAME)
        );
    }
    kill(&child, "-INT").await;
    let interrupt = serde_json::to_string(&SessionNote::Signal {
        name: "INT".to_owned(),
    })
    .expect("JSON");
    assert_eq!(frames.recv().await, Some(Message::text(interrupt)));
    kill(&child, "-INT").await;
    let ended = ended(child).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(130), "the command is hung up on\n")
    );
    assert_eq!(
        frames.recv().await,
        None,
        "the manager sees the end at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_takes_nothing_keeps_nobody() {
    let (rote, opened) = manager();
    let mut child = running(&rote).await;
    let _unread = opened.await.expect("a session");
    flood(&mut child).await;
    // Two pending signals of the same kind would merge into one.
    kill(&child, "-INT").await;
    kill(&child, "-TERM").await;
    assert_eq!(ended(child).await.code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_input_comes_as_the_command_takes_it() {
    let (rote, opened) = manager();
    let mut child = running(&rote).await;
    let mut stdin = child.stdin.take().expect("piped");
    let all: Vec<u8> = (0..u8::MAX).cycle().take(100 * PIECE + 5).collect();
    let sent = all.clone();
    let write = tokio::spawn(async move { stdin.write_all(&sent).await });
    let (mut socket, mut come) = (opened.await.expect("a session"), Vec::new());
    while let Message::Binary(frame) = socket.recv().await.expect("a frame").expect("readable") {
        come.extend_from_slice(&frame[1..]);
        socket
            .send(Message::binary([0, 1].as_slice()))
            .await
            .expect("sent");
    }
    write.await.expect("no panic").expect("written");
    assert!(come == all, "{} bytes came", come.len());
    socket
        .send(Message::text(
            serde_json::to_string(&SessionNote::Exit { code: 7 }).expect("JSON"),
        ))
        .await
        .expect("sent");
    assert_eq!(ended(child).await.code, Some(7));
}

/// Sends more than all buffers on the way hold, until the connection ends.
async fn floods(socket: &mut WebSocket) {
    let frame: Vec<u8> = [&[1][..], &[b'y'; PIECE]].concat();
    while socket.send(Message::binary(frame.clone())).await.is_ok() {}
}

/// The CLI with standard output and standard error in one pipe, as with `2>&1`, that is not read.
fn unread(rote: &Rote) -> (Child, PipeReader) {
    let (unread, both) = std::io::pipe().expect("a pipe");
    let mut command = rote.command("execute -n c -c sleep 100000");
    command
        .stdin(Stdio::piped())
        .stdout(both.try_clone().expect("the pipe"))
        .stderr(both);
    (command.spawn().expect("it runs"), unread)
}

/// Waits until the pipe is full: a short write before a large one may occupy a page of its own.
async fn is_full(pipe: &PipeReader) {
    while rustix::io::ioctl_fionread(pipe).expect("a pipe") < (PIPE - PAGE) as u64 {
        tokio::task::yield_now().await;
    }
}

async fn code(mut child: Child) -> Option<i32> {
    timeout(Duration::from_secs(10), child.wait())
        .await
        .expect("it ends")
        .expect("its end")
        .code()
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_nobody_reads_keeps_nobody() {
    for signal in ["-INT", "-TERM"] {
        let (rote, opened) = manager();
        let (child, pipe) = unread(&rote);
        let mut socket = opened.await.expect("a session");
        let flood = tokio::spawn(async move { floods(&mut socket).await });
        is_full(&pipe).await;
        kill(&child, signal).await;
        assert_eq!(code(child).await, Some(130));
        flood.await.expect("the manager sees the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_when_it_is_asked_to_ends_us_as_it_did_though_nobody_reads_the_rest() {
    let (rote, opened) = manager();
    let (child, mut pipe) = unread(&rote);
    let mut socket = opened.await.expect("a session");
    for _ in 0..2 + PIPE / PIECE {
        socket
            .send(Message::binary([&[1][..], &[b'y'; PIECE]].concat()))
            .await
            .expect("sent");
    }
    is_full(&pipe).await;
    kill(&child, "-INT").await;
    while !matches!(socket.recv().await, Some(Ok(Message::Text(_)))) {}
    socket
        .send(Message::text(
            serde_json::to_string(&SessionNote::Exit { code: 7 }).expect("JSON"),
        ))
        .await
        .expect("sent");
    assert_eq!(code(child).await, Some(7));
    let mut said = String::new();
    pipe.read_to_string(&mut said).expect("the pipe");
    assert_eq!(
        said.trim_start_matches("up").trim_start_matches('y'),
        "",
        "no word about it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_ends_it_without_a_word() {
    let (rote, opened) = manager();
    let mut child = running(&rote).await;
    drop(child.stdout.take());
    let mut socket = opened.await.expect("a session");
    // One frame is enough, and then silence.
    socket
        .send(Message::binary(b"\x01lost".as_slice()))
        .await
        .expect("sent");
    let ended = ended(child).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(141), ""),
        "as by SIGPIPE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_ends_is_named_and_what_came_before_is_written() {
    let (rote, opened) = manager();
    let child = running(&rote).await;
    let mut socket = opened.await.expect("a session");
    for number in 0..3 * PIPE / PIECE {
        socket
            .send(Message::binary(
                [&[1][..], &vec![u8::try_from(number).expect("few"); PIECE]].concat(),
            ))
            .await
            .expect("sent");
    }
    drop(socket);
    let ended = ended(child).await;
    assert_eq!((ended.code, ended.out.len()), (Some(1), 3 * PIPE));
    let told = "error: the connection to the manager broke: it has ended\nhint: the session is lost; run it again once `micado status` answers\n";
    assert_eq!(ended.err, told);
}
