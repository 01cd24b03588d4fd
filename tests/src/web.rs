//! A web server for functions to talk to, which remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server on a free port of this machine. It answers until the process ends.
///
/// - `/echo`: what was sent, as text: the method, the path, and the body
/// - `/slow/MS`: `slow`, after so many milliseconds
/// - `/status/N`: with that status
/// - `/large/N`: so many bytes
/// - `/count`: how often this very request was made, by its idempotency key
/// - `/break`: nothing, and the connection is closed
#[derive(Clone)]
pub struct Web {
    authority: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path, with what follows a `?`.
    pub path: String,
    /// Its headers, by their names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Default for Web {
    fn default() -> Web {
        Web::new()
    }
}

impl Web {
    /// Start it.
    pub fn new() -> Web {
        Web::listen("127.0.0.1", "localhost")
    }

    /// The same, on an address of this machine that others reach.
    pub fn at(address: &str) -> Web {
        Web::listen(address, address)
    }

    fn listen(address: &str, name: &str) -> Web {
        let listener = TcpListener::bind((address, 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let web = Web { authority: format!("{name}:{port}"), seen: Arc::default() };
        let serving = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // A connection that breaks is nothing to it.
                std::thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        web
    }

    /// Where it is, as `http://HOST:PORT` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority())
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        self.authority.clone()
    }

    /// What arrived until now, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics with it").clone()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(seen) = read(&mut reader)? {
            let key = seen.headers.get("idempotency-key").cloned();
            let count = {
                let mut all = self.seen.lock().expect("nobody panics with it");
                all.push(seen.clone());
                all.iter().filter(|seen| seen.headers.get("idempotency-key") == key.as_ref()).count()
            };
            let mut parts = seen.path.split(['/', '?']).skip(1);
            let number = |part: Option<&str>| part.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            let (status, body) = match parts.next() {
                Some("slow") => {
                    std::thread::sleep(Duration::from_millis(number(parts.next())));
                    (200, "slow".to_owned())
                }
                Some("status") => (number(parts.next()), "as you wish".to_owned()),
                Some("large") => (200, "x".repeat(number(parts.next()) as usize)),
                Some("count") => (200, count.to_string()),
                Some("break") => return Ok(()),
                _ => (200, format!("{} {} {}", seen.method, seen.path, seen.body)),
            };
            let head = format!("HTTP/1.1 {status} x\r\nx-server: web\r\ncontent-length: {}\r\n\r\n", body.len());
            writer.write_all((head + &body).as_bytes())?;
        }
        Ok(())
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length").and_then(|length| length.parse::<u64>().ok()) {
        reader.take(length).read_to_end(&mut body)?;
    } else if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(Seen { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}
