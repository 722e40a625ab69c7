//! Output of a process without a terminal: standard output and standard error on one stream, each
//! piece after a header of 8 bytes (stream, 0, 0, 0, length).

use bytes::{Buf, Bytes, BytesMut};
use micado_api::agent::channel;

/// Splits the stream into channels, at any boundaries of its pieces.
#[derive(Debug, Default)]
pub struct Demultiplexer {
    header: BytesMut,
    /// Channel of the next bytes, and their number.
    rest: (u8, usize),
}

const HEADER: usize = 8;

impl Demultiplexer {
    /// The next bytes for one channel, taken from the front of `come`; `None` if more must arrive
    /// first.
    pub fn next(&mut self, come: &mut Bytes) -> Option<(u8, Bytes)> {
        while self.rest.1 == 0 {
            let wanted = (HEADER - self.header.len()).min(come.len());
            self.header.extend_from_slice(&come[..wanted]);
            come.advance(wanted);
            if self.header.len() < HEADER {
                return None;
            }
            let stream = if self.header[0] == 2 {
                channel::ERROR
            } else {
                channel::OUT
            };
            self.rest = (stream, (&self.header[4..]).get_u32() as usize);
            self.header.clear();
        }
        if come.is_empty() {
            return None;
        }
        let piece = come.split_to(come.len().min(self.rest.1));
        self.rest.1 -= piece.len();
        Some((self.rest.0, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pieces_give_the_same() {
        let stream = [
            &[1, 0, 0, 0, 0, 0, 0, 5][..],
            b"hello",
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 3],
            b"err",
            &[1, 0, 0, 0, 0, 0, 0, 1],
            b"!",
        ]
        .concat();
        for size in 1..=stream.len() {
            let (mut apart, mut out, mut err) = (Demultiplexer::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                let mut come = Bytes::copy_from_slice(piece);
                while let Some((channel, bytes)) = apart.next(&mut come) {
                    if channel == super::channel::ERROR {
                        &mut err
                    } else {
                        &mut out
                    }
                    .extend_from_slice(&bytes);
                }
                assert!(come.is_empty());
            }
            assert_eq!(
                (&out[..], &err[..]),
                (&b"hello!"[..], &b"err"[..]),
                "pieces of {size}"
            );
        }
    }
}
