//! When a session ends because one side is gone without a word, and when not; on a virtual clock.

use super::*;
use futures_util::sink;
use std::{convert::Infallible, pin::Pin};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;

const HOUR: Duration = Duration::from_secs(3600);

type Ends = (
    Pin<Box<dyn Sink<Message, Error = mpsc::error::SendError<Message>>>>,
    Pin<Box<dyn Stream<Item = Result<Message, Infallible>>>>,
);

/// A side as the relay has it, and what it does: takes what is sent to it, one after the other, and
/// sends. Dropped, it is closed.
fn side() -> (Ends, mpsc::Receiver<Message>, mpsc::Sender<Message>) {
    let (to, takes) = mpsc::channel(1);
    let (sends, from) = mpsc::channel(1);
    let to = sink::unfold(to, async |to, message| to.send(message).await.map(|()| to));
    (
        (Box::pin(to), Box::pin(ReceiverStream::new(from).map(Ok))),
        takes,
        sends,
    )
}

/// Answers pings and takes all else, for ever.
async fn lives(mut takes: mpsc::Receiver<Message>, sends: &mpsc::Sender<Message>) -> Vec<Message> {
    let mut taken = Vec::new();
    while let Some(message) = takes.recv().await {
        match message {
            Message::Ping(asked) => drop(sends.send(Message::Pong(asked)).await),
            message => taken.push(message),
        }
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_gone_is_found_out_and_its_caller_told() {
    let ((caller, takes, sends), (agent, _takes_nothing, _says_nothing)) = (side(), side());
    let start = Instant::now();
    let (told, ()) = tokio::join!(lives(takes, &sends), async {
        tokio::select! {
            () = relay(caller, agent, PACE) => {}
            () = sleep(HOUR) => panic!("it is not found out"),
        }
    });
    let Some(Message::Text(text)) = told.first() else {
        panic!("{told:?}")
    };
    assert!(
        text.contains("failed") && text.contains("the connection to the machine broke"),
        "{text}"
    );
    assert_eq!(
        start.elapsed(),
        PACE.dead + FAREWELL,
        "this caller closes nothing by itself"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_says_nothing_for_an_hour_goes_on() {
    let ((caller, _takes, _sends), (agent, takes, sends)) = (side(), side());
    tokio::select! {
        () = relay(caller, agent, PACE) => panic!("both are there"),
        _ = lives(takes, &sends) => panic!("the relay is there"),
        () = sleep(HOUR) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_while_input_and_output_wait_ends_it_at_once() {
    let ((caller, _unread, sends), (agent, mut takes, says)) = (side(), side());
    let (start, output) = (
        Instant::now(),
        tokio::spawn(async move { while says.send(Message::binary(vec![1])).await.is_ok() {} }),
    );
    // The agent takes all: what the command does not, waits there.
    let agent_takes = async { while takes.recv().await.is_some() {} };
    let goes = async {
        for _ in 0..16 {
            sends
                .send(Message::binary(vec![0, 7]))
                .await
                .expect("the relay is there");
        }
        sleep(Duration::from_secs(1)).await;
        drop(sends);
    };
    tokio::join!(relay(caller, agent, PACE), agent_takes, goes);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    output.await.expect("the agent saw its connection go");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_for_an_hour_gets_all_then() {
    let ((caller, mut takes, _sends), (agent, asked, answers)) = (side(), side());
    let output = async {
        for number in 0..10 {
            answers
                .send(Message::binary(vec![1, number]))
                .await
                .expect("the relay is there");
        }
        sleep(HOUR).await;
    };
    let late = async {
        sleep(HOUR).await;
        for number in 0..10 {
            assert_eq!(takes.recv().await, Some(Message::binary(vec![1, number])));
        }
    };
    tokio::select! {
        () = relay(caller, agent, PACE) => panic!("both are there"),
        _ = lives(asked, &answers) => panic!("the relay is there"),
        ((), ()) = async { tokio::join!(output, late) } => {}
    }
}
