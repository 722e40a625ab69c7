//! Whether the other end of a TCP connection has gone without a word, by what the kernel waits for.
//!
//! A caller that does not read answers no ping, and is not to be ended for that. But its kernel
//! acknowledges what arrives, and answers the probes of a window that is closed: only one that is
//! gone does neither. While nothing is on its way, keep-alive finds that out; for data that nobody
//! acknowledges the kernel would wait for a quarter of an hour.

use super::relay::Pace;
use std::{fs, time::Duration};
use tokio::time::sleep;

/// A socket, by the number that the kernel shows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Socket(pub(in crate::api) u64);

impl Socket {
    /// Whether the kernel has sent something again, or asks whether more may be sent, and has no
    /// answer.
    pub(super) fn is_unanswered(self) -> bool {
        ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .any(|list| fs::read_to_string(list).is_ok_and(|list| unanswered(&list, self)))
    }
}

/// Comes back when every look found something unanswered for as long as a silent peer is waited
/// for.
pub(super) async fn gone(pace: Pace, is_unanswered: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while waited < pace.dead {
        sleep(pace.ping).await;
        waited = if is_unanswered() {
            waited + pace.ping
        } else {
            Duration::ZERO
        };
    }
}

/// By a line such as `0: LOCAL REMOTE STATE TX:RX TIMER:WHEN RETRANSMITS UID PROBES INODE ...`:
/// timer 1 is of retransmission, 4 of probes; what is answered sets their counts to 0.
fn unanswered(list: &str, Socket(inode): Socket) -> bool {
    let inode = inode.to_string();
    list.lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .any(|words| match words[..] {
            [_, _, _, _, _, timer, again, _, probes, its, ..] if its == inode => {
                match timer.split_once(':') {
                    Some(("01", _)) => again.contains(|digit| digit != '0'),
                    Some(("04", _)) => probes != "0",
                    _ => false,
                }
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::Instant;

    #[test]
    fn the_kernels_list_is_read() {
        let line = |timer: &str, again: &str, probes: &str| {
            format!(
                "  sl  local_address rem_address\n   7: 0100007F:1F90 0200007F:C350 01 00000010:00000000 {timer}:00000014 {again}     0        {probes} 4711 4 0 20 4 30 10 -1\n"
            )
        };
        let wanted = [
            (line("01", "00000000", "0"), false, "it is on its way"),
            (line("01", "00000003", "0"), true, "it was sent again"),
            (
                line("04", "00000000", "0"),
                false,
                "its window is closed, and it says so",
            ),
            (line("04", "00000000", "2"), true, "nobody says so any more"),
            (
                line("02", "00000000", "1"),
                false,
                "keep-alive ends the connection by itself",
            ),
            ("   7: too short\n".to_owned(), false, "unreadable"),
        ];
        for (list, verdict, why) in wanted {
            assert_eq!(unanswered(&list, Socket(4711)), verdict, "{why}");
            assert!(!unanswered(&list, Socket(4)), "another socket");
        }
    }

    #[tokio::test]
    async fn a_socket_of_ours_is_in_the_list() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = std::net::TcpStream::connect(listener.local_addr().expect("an address"))
            .expect("a connection");
        let inode = rustix::fs::fstat(&stream).expect("its number").st_ino;
        let list = fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
        assert!(
            list.lines()
                .any(|line| line.split_ascii_whitespace().nth(9) == Some(&inode.to_string()))
        );
        assert!(!Socket(inode).is_unanswered());
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_and_the_wait_begins_anew() {
        let pace = Pace {
            ping: Duration::from_secs(6),
            dead: Duration::from_secs(18),
        };
        let (looks, start) = (Cell::new(0), Instant::now());
        gone(pace, || looks.replace(looks.get() + 1) != 1).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }
}
