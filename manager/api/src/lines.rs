//! Splits streams of bytes into lines, for progress and logs.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt, stream};

/// Longer lines are split here, so that an endless line does not exhaust memory.
const LINE_MAX: usize = 1 << 20;

/// The lines of a stream, without line ends. The rest at the end of the stream is a line too.
pub fn lines<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send,
) -> impl Stream<Item = Result<Bytes, E>> + Send {
    stream::try_unfold(
        (Box::pin(pieces), BytesMut::new()),
        |(mut pieces, mut rest)| async move {
            loop {
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line = rest.split_to(end + 1).freeze();
                    return Ok(Some((line.slice(..end), (pieces, rest))));
                }
                if rest.len() >= LINE_MAX {
                    return Ok(Some((rest.split_to(LINE_MAX).freeze(), (pieces, rest))));
                }
                match pieces.try_next().await? {
                    Some(piece) => rest.extend_from_slice(&piece),
                    None if rest.is_empty() => return Ok(None),
                    None => return Ok(Some((rest.split().freeze(), (pieces, rest)))),
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn cut(pieces: &[&[u8]]) -> Vec<Bytes> {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        lines(stream::iter(pieces))
            .try_collect()
            .await
            .unwrap_or_else(|never| match never {})
    }

    #[tokio::test]
    async fn lines_are_put_together_from_pieces() {
        assert_eq!(
            cut(&[b"one\ntw", b"o", b"\n\nend"]).await,
            ["one", "two", "", "end"]
        );
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LINE_MAX + 1];
        let lengths: Vec<usize> = cut(&[&long]).await.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [LINE_MAX, 1]);
    }
}
