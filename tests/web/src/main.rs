//! A small web server for the tour and the tests: it prints its host name, and burns CPU, holds
//! memory or exits on request.

mod answer;

use answer::{Answer, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process,
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

/// Concurrent requests; more wait in the listener's queue.
const WORKERS: usize = 16;
/// Time-out for a client to send its request and to read the reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Upper bound for a request, in bytes.
const MAX_REQUEST_BYTES: u64 = 16 << 10;

fn main() -> io::Result<()> {
    // Process 1 of a container has no default actions: without a handler, SIGTERM would do nothing.
    let always = Arc::new(AtomicBool::new(true));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&always))?;
    }
    if let Some(after) = setting("EXIT_AFTER_MS")? {
        let code = setting("EXIT_CODE")?.unwrap_or(0);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(after));
            log(&format!(
                "ending with {code} after {after} ms, as EXIT_AFTER_MS says"
            ));
            process::exit(code);
        });
    }
    let listener = TcpListener::bind(("0.0.0.0", setting("PORT")?.unwrap_or(8080)))?;
    let ready_after = Duration::from_millis(setting("READY_AFTER_MS")?.unwrap_or(0));
    let server = Server::new(host_name(), ready_after);
    log(&format!(
        "micado-web on {} listens on {}",
        server.host(),
        listener.local_addr()?
    ));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&listener, &server));
        }
    });
    Ok(())
}

/// An environment variable's value.
fn setting<T: FromStr>(name: &str) -> io::Result<Option<T>> {
    let Ok(value) = env::var(name) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name}=`{value}` is not a number that fits"),
        )
    })
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

fn work(listener: &TcpListener, server: &Server) {
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                if let Err(error) = serve(stream, server, &from.ip().to_string()) {
                    log(&format!("{} {error}", from.ip()));
                }
            }
            Err(error) => {
                log(&format!("accept: {error}"));
                // Most likely no file descriptor is free; retrying at once would only burn CPU.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Reads one request, answers it and closes.
fn serve(mut stream: TcpStream, server: &Server, from: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let started = Instant::now();
    let request = read_request(&stream)?;
    let Answer { status, body, end } = server.answer(&request);
    log(&format!(
        "{from} {request} {} {} ms",
        status.split(' ').next().unwrap_or(status),
        started.elapsed().as_millis()
    ));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if !request.starts_with("HEAD ") {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()?;
    if let Some(code) = end {
        process::exit(code);
    }
    Ok(())
}

/// Method and target of a request; headers are skipped.
fn read_request(stream: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(stream.take(MAX_REQUEST_BYTES)).lines();
    let cut_short = || {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the request is cut short or too long",
        )
    };
    let first = lines.next().ok_or_else(cut_short)??;
    while !lines.next().ok_or_else(cut_short)??.is_empty() {}
    Ok(first
        .rsplit_once(" HTTP/")
        .map_or(first.clone(), |(request, _)| request.to_owned()))
}

/// One line to stdout. Without a reader of its log the server continues.
fn log(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_over_a_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .expect("write");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read");
            answer
        });
        let (stream, _) = listener.accept().expect("accept");
        serve(stream, &Server::new("here".into(), Duration::ZERO), "test").expect("serve");
        let answer = client.join().expect("client");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nmicado-web 0.1.0 on here: request 1\n"),
            "{answer}"
        );
    }
}
