//! `micado logs`: the log of a container, or of all containers of a service.

use super::{args::LogsArgs, failure::Failure, printer::Printer};
use crate::clock;
use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use micado_api::{Client, LogEntry, LogQuery, LogStream};
use std::pin::pin;

/// Upper bound for lines that are written at once, if that many are there.
const AT_ONCE: usize = 256;

pub(super) async fn logs(
    args: LogsArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let since = args.since.map(|since| since.seconds(clock::now()));
    let query = LogQuery {
        follow: args.follow,
        tail: args.tail,
        since,
        timestamps: args.timestamps,
        previous: args.previous,
        lines: true,
    };
    let (containers, entries) = client.logs(args.of.name(), &query).await?;
    let mut entries = pin!(entries.ready_chunks(AT_ONCE));
    while let Some(entries) = entries.next().await {
        // Lines of one output stay together, in their order with those of the other.
        let mut text = BytesMut::new();
        let mut stream = LogStream::Stdout;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    printer.piece(stream, &text)?;
                    return Err(error.into());
                }
            };
            if printer.is_json() {
                text.put(&*serde_json::to_vec(&entry).map_err(std::io::Error::other)?);
                text.put_u8(b'\n');
                continue;
            }
            if entry.stream != stream {
                printer.piece(stream, &text)?;
                text.clear();
                stream = entry.stream;
            }
            text.put(line(&entry, containers > 1, args.timestamps));
        }
        printer.piece(stream, &text)?;
    }
    Ok(())
}

/// A line as people see it.
fn line(entry: &LogEntry, named: bool, timestamps: bool) -> BytesMut {
    let mut line = BytesMut::new();
    if named {
        line.put(format!("{} | ", entry.container).as_bytes());
    }
    if let Some(at) = entry.at.as_ref().filter(|_| timestamps) {
        line.put(format!("{at} ").as_bytes());
    }
    line.put(entry.content());
    // The next line is of another container.
    if named && entry.unended {
        line.put_u8(b'\n');
    }
    line
}
