//! `micado top`: present usage of machines and containers, redrawn every few seconds.

mod board;
mod screen;

use super::{args::TopArgs, failure::Failure, printer::Printer, terminal::read_input};
use crate::clock;
use board::{Board, Seen};
use micado_api::{Client, ClientError, Timestamp};
use screen::Screen;
use std::{io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};

/// Time after which a manager that does not answer is shown as silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Byte of Ctrl-C in a raw terminal.
const CTRL_C: u8 = 3;

pub(super) async fn top(args: TopArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let seen = look(client).await?;
    if !args.once
        && !printer.is_json()
        && let Some(screen) = Screen::take()?
    {
        return Ok(watch(&args, client, &screen, seen).await?);
    }
    printer.data(&seen, || Board::new(&seen, args.sort).page())?;
    Ok(())
}

async fn look(client: &Client) -> Result<Seen, ClientError> {
    let (status, instances, containers) = tokio::try_join!(
        client.status(),
        client.instances(false),
        client.containers(false)
    )?;
    Ok(Seen {
        at: clock::now(),
        status,
        instances,
        containers,
    })
}

/// Redraws until a person ends it. A manager that does not answer is shown as silent and asked
/// again.
async fn watch(args: &TopArgs, client: &Client, screen: &Screen, mut seen: Seen) -> io::Result<()> {
    let (mut keys, mut signals, mut looks) = (
        read_input(),
        Signals::new()?,
        looks(client.clone(), Duration::from_secs(args.interval)),
    );
    let mut silent: Option<Silence> = None;
    loop {
        screen.draw(&Board::new(&seen, args.sort), silent.as_ref())?;
        tokio::select! {
            Some(looked) = looks.recv() => match looked {
                Ok(fresh) => (seen, silent) = (fresh, None),
                Err(words) => silent = Some(Silence { since: silent.map_or_else(clock::now, |it| it.since), words }),
            },
            Some(keys) = keys.recv() => if keys.iter().any(|key| [b'q', CTRL_C].contains(key)) { return Ok(()) },
            ended = signals.next() => if ended { return Ok(()) },
        }
    }
}

/// The manager does not answer.
struct Silence {
    since: Timestamp,
    words: String,
}

/// Queries the manager repeatedly, at this interval.
fn looks(client: Client, interval: Duration) -> mpsc::Receiver<Result<Seen, String>> {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            sleep(interval).await;
            let looked = match timeout(PATIENCE, look(&client)).await {
                Ok(looked) => looked.map_err(|error| error.to_string()),
                Err(_) => Err(format!("it says nothing for {} s", PATIENCE.as_secs())),
            };
            if to.send(looked).await.is_err() {
                return;
            }
        }
    });
    from
}

struct Signals {
    resized: Signal,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (resized, interrupt) = (
            signal(SignalKind::window_change())?,
            signal(SignalKind::interrupt())?,
        );
        Ok(Self {
            resized,
            interrupt,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; true if it ends us, false for a new window size.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.resized.recv() => false,
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            _ = self.hang_up.recv() => true,
        }
    }
}
