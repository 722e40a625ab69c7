//! Detection of a dead caller, on a virtual clock.

use super::*;
use tokio::{io::DuplexStream, time::Instant};
use tokio_tungstenite::tungstenite::protocol::Role;

const PACE: Pace = Pace {
    ping: Duration::from_secs(6),
    dead: Duration::from_secs(18),
};
const HOUR: Duration = Duration::from_secs(3600);

/// Both ends of a connection that buffers this many bytes.
async fn connection(holds: usize) -> (Caller, Pings, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(holds);
    let (caller, pings) = Caller::new(
        WebSocketStream::from_raw_socket(ours, Role::Client, None).await,
        PACE,
    );
    (
        caller,
        pings,
        WebSocketStream::from_raw_socket(theirs, Role::Server, None).await,
    )
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_at_all_is_gone() {
    let (mut caller, pings, _theirs) = connection(1 << 20).await;
    let start = Instant::now();
    tokio::select! {
        Cut = caller.input.cut() => {}
        never = pings.send() => match never {},
    }
    assert_eq!(start.elapsed(), PACE.dead);
}

#[tokio::test(start_paused = true)]
async fn one_that_only_answers_pings_is_there_for_hours() {
    let (mut caller, pings, mut theirs) = connection(1 << 20).await;
    let answers = async { while let Some(Ok(_)) = theirs.next().await {} };
    tokio::select! {
        Cut = caller.input.cut() => panic!("it is there"),
        never = pings.send() => match never {},
        () = answers => panic!("we are there"),
        () = tokio::time::sleep(HOUR) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_read_and_pings_is_there_and_gets_all_when_it_reads() {
    let (caller, pings, theirs) = connection(1 << 10).await;
    let Caller {
        mut output,
        mut input,
    } = caller;
    let (mut theirs, mut reads) = theirs.split();
    let asks = async {
        let mut ticks = interval(PACE.ping);
        loop {
            ticks.tick().await;
            theirs
                .send(Message::Ping(Bytes::new()))
                .await
                .expect("we read");
        }
    };
    let work = async {
        let data = output.data(channel::OUT, &[7; 100_000]);
        let late = async {
            tokio::time::sleep(HOUR).await;
            let mut come = 0;
            while come < 100_000 {
                if let Message::Binary(frame) = reads.next().await.expect("more").expect("readable")
                {
                    come += frame.len() - 1;
                }
            }
        };
        tokio::join!(data, late).0
    };
    tokio::select! {
        sent = work => sent.expect("sent"),
        Cut = input.cut() => panic!("it is there"),
        never = pings.send() => match never {},
        () = asks => {}
    }
}
