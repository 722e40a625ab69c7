//! A small server with Prometheus' HTTP API for instant queries: its answer is set by the test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Answer to every query.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// These values, one series each.
    Values(Vec<&'static str>),
    /// An internal error.
    Failure,
}

/// The server. Its thread ends with the process.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
}

impl Prometheus {
    /// Starts a server with one value.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(value: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let reply = Arc::new(Mutex::new(Reply::Values(vec![value])));
        let shared = Arc::clone(&reply);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reply = shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                // A caller that is gone is no failure of the test.
                drop(serve(stream, &reply));
            }
        });
        Self { address, reply }
    }

    /// Its address, as a policy names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answer of the next queries.
    pub fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }
}

fn serve(mut stream: TcpStream, reply: &Reply) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    let (status, body) = match reply {
        Reply::Failure => ("500 Internal Server Error", "{}".to_owned()),
        Reply::Values(values) => {
            let series = values.iter().enumerate().map(|(at, value)| {
                format!(r#"{{"metric":{{"at":"{at}"}},"value":[1.5,"{value}"]}}"#)
            });
            let series = series.collect::<Vec<_>>().join(",");
            let data = format!(r#"{{"resultType":"vector","result":[{series}]}}"#);
            ("200 OK", format!(r#"{{"status":"success","data":{data}}}"#))
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
