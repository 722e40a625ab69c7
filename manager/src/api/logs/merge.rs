//! Merges logs by time. Each log is in order; a log is read as far as its next line only.

use super::{Lines, Mixed};
use crate::engine::{EngineError, LogLine};
use futures_util::{StreamExt, TryStreamExt, stream};
use micado_api::ContainerName;
use std::collections::VecDeque;

/// Upper bound for the text of last lines, in bytes: earlier ones are left out.
const MOST: usize = 32 << 20;

/// A container's log with its next line.
pub(super) struct Head {
    container: ContainerName,
    next: Option<LogLine>,
    rest: Lines,
}

impl Head {
    pub(super) fn new(container: ContainerName, next: Option<LogLine>, rest: Lines) -> Self {
        Self {
            container,
            next,
            rest,
        }
    }
}

/// The lines of all logs by time. Those without a time come first.
pub(super) fn by_time(heads: Vec<Head>) -> Mixed {
    let lines = stream::try_unfold(heads, |mut heads| async move {
        let unended = heads.iter_mut().filter(|head| head.next.is_some());
        let Some(first) = unended.min_by(|a, b| at(a).cmp(&at(b))) else {
            return Ok::<_, EngineError>(None);
        };
        let next = first.rest.try_next().await?;
        let line = std::mem::replace(&mut first.next, next);
        let line = line.map(|line| (first.container.clone(), line));
        Ok(line.map(|line| (line, heads)))
    });
    lines.boxed()
}

fn at(head: &Head) -> Option<&str> {
    head.next.as_ref()?.at.as_deref()
}

/// The last lines, this many.
pub(super) fn last(lines: Mixed, count: u32) -> Mixed {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let kept = (VecDeque::new(), 0_usize);
    let kept = lines.try_fold(kept, move |(mut kept, mut size), line| async move {
        let length = |line: &(ContainerName, LogLine)| line.1.text.len();
        size += length(&line);
        kept.push_back(line);
        while kept.len() > count || size > MOST {
            size -= kept.pop_front().as_ref().map_or(size, length);
        }
        Ok((kept, size))
    });
    let lines = async { Ok::<_, EngineError>(stream::iter(kept.await?.0.into_iter().map(Ok))) };
    stream::once(lines).try_flatten().boxed()
}
