//! Flow control towards a command that reads its input late or never, on a virtual clock.

use super::super::super::caller::{Caller, Pace};
use super::*;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

const HOUR: Duration = Duration::from_secs(3600);
const FRAME: usize = 10_000;

/// Input of a command with a pipe of this many bytes, the command's end of it, and the caller.
async fn command(room: usize) -> (Stdin, DuplexStream, WebSocketStream<DuplexStream>) {
    command_among(room, false, &Arc::new(Semaphore::new(0))).await
}

/// As [`command`], with this many permits of fast readers, and a terminal or none.
async fn command_among(
    room: usize,
    terminal: bool,
    fast: &Arc<Semaphore>,
) -> (Stdin, DuplexStream, WebSocketStream<DuplexStream>) {
    let ((ours, theirs), (to, command)) = (duplex(1 << 20), duplex(room));
    let pace = Pace {
        ping: HOUR,
        dead: HOUR,
    };
    let (Caller { output, .. }, _) = Caller::new(
        WebSocketStream::from_raw_socket(ours, Role::Client, None).await,
        pace,
    );
    (
        Stdin::new(to, output, terminal, Arc::clone(fast)),
        command,
        WebSocketStream::from_raw_socket(theirs, Role::Server, None).await,
    )
}

/// Waits until the caller has received credit for this many frames.
async fn hears(caller: &mut WebSocketStream<DuplexStream>, count: usize) {
    let mut heard = 0;
    while heard < count {
        match caller.next().await.expect("a frame").expect("readable") {
            Message::Binary(frame) if frame.len() == 2 && frame[0] == 0 => {
                heard += usize::from(frame[1])
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, count);
}

fn frame(number: usize) -> Bytes {
    vec![u8::try_from(number).expect("few"); FRAME].into()
}

#[tokio::test(start_paused = true)]
async fn a_command_that_reads_after_an_hour_gets_all_and_its_caller_hears_only_then() {
    let (mut stdin, mut command, mut caller) = command(FRAME).await;
    for number in 0..INPUT_AHEAD {
        stdin.add(frame(number)).expect("so much may wait");
    }
    stdin.end();
    hears(&mut caller, 1).await;
    assert!(
        tokio::time::timeout(HOUR, caller.next()).await.is_err(),
        "only the first fits where the command could read it"
    );
    let mut read = Vec::new();
    command
        .read_to_end(&mut read)
        .await
        .expect("all, and its end");
    assert_eq!(read, (0..INPUT_AHEAD).flat_map(frame).collect::<Vec<u8>>());
    hears(&mut caller, INPUT_AHEAD - 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_wait_is_refused_and_one_that_does_is_not() {
    let (stdin, mut command, mut caller) = command(1).await;
    for number in 0..INPUT_AHEAD {
        stdin.add(frame(number)).expect("so much may wait");
    }
    let mut all = vec![0; FRAME * INPUT_AHEAD];
    command.read_exact(&mut all).await.expect("all");
    hears(&mut caller, INPUT_AHEAD).await;
    for number in 0..INPUT_AHEAD {
        stdin.add(frame(number)).expect("so much may wait again");
    }
    assert!(matches!(
        stdin.add(frame(0)),
        Err(SessionError::TooFarAhead)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_frame_may_not_be_larger_than_said() {
    let (stdin, _command, _caller) = command(1).await;
    assert!(matches!(
        stdin.add(vec![0; INPUT_FRAME + 1].into()),
        Err(SessionError::TooFarAhead)
    ));
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_what_comes_may_be_sent_more_while_there_is_a_place() {
    let fast = Arc::new(Semaphore::new(1));
    let full = Bytes::from(vec![7; INPUT_FRAME]);
    let more = INPUT_AHEAD + usize::from(MORE);
    let (one, mut one_reads, mut caller) = command_among(1, false, &fast).await;
    let (other, mut other_reads, mut other_caller) = command_among(1, false, &fast).await;
    let mut all = vec![0; MUCH];
    for _ in 0..INPUT_AHEAD {
        one.add(full.clone()).expect("so much may wait");
    }
    one_reads.read_exact(&mut all).await.expect("all");
    hears(&mut caller, more).await;
    for _ in 0..more {
        one.add(full.clone()).expect("so much more may wait");
    }
    assert!(matches!(
        one.add(full.clone()),
        Err(SessionError::TooFarAhead)
    ));
    let mut again = async || {
        for _ in 0..INPUT_AHEAD {
            other.add(full.clone()).expect("so much may wait");
        }
        other_reads.read_exact(&mut all).await.expect("all");
    };
    again().await;
    hears(&mut other_caller, INPUT_AHEAD).await;
    drop((one, one_reads));
    drop(fast.acquire().await);
    again().await;
    hears(&mut other_caller, more).await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_little_at_a_time_or_types_takes_no_place() {
    let fast = Arc::new(Semaphore::new(1));
    for (terminal, size, frames) in [
        (false, 1, 10 * INPUT_AHEAD),
        (true, INPUT_FRAME, 2 * INPUT_AHEAD),
    ] {
        let (stdin, mut command, mut caller) = command_among(INPUT_FRAME, terminal, &fast).await;
        for _ in 0..frames {
            stdin.add(vec![0; size].into()).expect("it takes all");
            command.read_exact(&mut vec![0; size]).await.expect("all");
            hears(&mut caller, 1).await;
        }
        assert_eq!(fast.available_permits(), 1, "terminal: {terminal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_closed_its_input_takes_all_there_is() {
    let (stdin, command, mut caller) = command(FRAME).await;
    drop(command);
    for number in 0..3 * INPUT_AHEAD {
        stdin.add(frame(number)).expect("it takes all");
        hears(&mut caller, 1).await;
    }
}
