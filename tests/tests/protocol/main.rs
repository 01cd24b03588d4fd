//! Resonate's promise protocol, as a client of it sees it: envelopes at `POST /`, messages at `/poll/{group}/{id}`.

mod access;
mod delivery;
mod functions;
mod nonsense;
mod push;
mod requests;
mod schedules;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, PATIENCE};

const VERSION: &str = "2026-04-01";
/// A deadline that no test reaches.
const FAR: u64 = 9_000_000_000_000;

/// What a request comes to: its status, and its data.
#[track_caller]
fn ask(host: &Client, kind: &str, data: Value) -> (u64, Value) {
    ask_with(host, kind, json!({ "corrId": "c-1", "version": VERSION }), data)
}

#[track_caller]
fn ask_with(host: &Client, kind: &str, head: Value, data: Value) -> (u64, Value) {
    let answer = host.post("/", &json!({ "kind": kind, "head": head, "data": data }));
    let mut document = answer.json();
    assert_eq!(document["head"]["version"], VERSION, "{document}");
    assert_eq!(document["head"]["status"], u64::from(answer.status), "{document}");
    assert_eq!(document["kind"], kind, "{document}");
    assert_eq!(document["head"]["corrId"], head["corrId"], "{document}");
    (u64::from(answer.status), document["data"].take())
}

/// The data of a request that is granted.
#[track_caller]
fn grant(host: &Client, kind: &str, data: Value) -> Value {
    let (status, answer) = ask(host, kind, data.clone());
    assert_eq!(status, 200, "{kind} {data}: {answer}");
    answer
}

/// The reason why a request is refused.
#[track_caller]
fn refuse(host: &Client, kind: &str, data: Value, expected: u64) -> String {
    let (status, answer) = ask(host, kind, data.clone());
    assert_eq!(status, expected, "{kind} {data}: {answer}");
    answer.as_str().expect("a reason is text").to_owned()
}

fn promise(id: &str, tags: Value) -> Value {
    json!({ "id": id, "timeoutAt": FAR, "param": {}, "tags": tags })
}

/// The data of a promise that is settled.
fn settlement(id: &str, value: &Value) -> Value {
    json!({ "id": id, "state": "resolved", "value": { "data": encode(value) } })
}

/// JSON, as the libraries write it.
fn encode(value: &Value) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in value.to_string().as_bytes().chunks(3) {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(*chunk.get(n).unwrap_or(&0)));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A worker's connection.
struct Worker(BufReader<TcpStream>);

impl Worker {
    /// Connect as a member of a group.
    #[track_caller]
    fn connect(host: &Client, group: &str, member: &str) -> Worker {
        let mut worker = Worker::knock(host, group, member, "");
        let mut line = String::new();
        worker.0.read_line(&mut line).expect("the host answers");
        assert!(line.contains("200"), "{line}");
        while line.trim() != "" {
            line.clear();
            worker.0.read_line(&mut line).expect("the host answers");
        }
        worker
    }

    /// Send the request only.
    fn knock(host: &Client, group: &str, member: &str, headers: &str) -> Worker {
        let address = host.url().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the host is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        write!(stream, "GET /poll/{group}/{member} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n")
            .expect("it can be sent");
        Worker(BufReader::new(stream))
    }

    /// The next message.
    #[track_caller]
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            let bytes = self.0.read_line(&mut line).expect("a message comes in time");
            assert!(bytes > 0, "the host has closed the connection");
            if let Some(data) = line.strip_prefix("data:") {
                return serde_json::from_str(data.trim()).expect("messages are JSON");
            }
        }
    }

    /// The task that the next message offers: its id and version.
    #[track_caller]
    fn offered(&mut self) -> (String, u64) {
        let message = self.next();
        assert_eq!(message["kind"], "execute", "{message}");
        let task = &message["data"]["task"];
        (task["id"].as_str().expect("ids are text").to_owned(), task["version"].as_u64().expect("versions are numbers"))
    }

    /// Whether no message comes for a while.
    fn hears_nothing(&mut self) -> bool {
        self.0.get_ref().set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
        let mut line = String::new();
        let mut lines = std::iter::from_fn(|| {
            line.clear();
            self.0.read_line(&mut line).ok().filter(|bytes| *bytes > 0).map(|_| line.starts_with("data:"))
        });
        let heard = lines.any(|is_message| is_message);
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        !heard
    }

    /// Let the network keep little of what isn't read.
    fn narrow(self) -> Worker {
        let bytes: libc::c_int = 4096;
        // SAFETY: the option is an int, which outlives the call.
        let set = unsafe {
            let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVBUF);
            libc::setsockopt(self.0.get_ref().as_raw_fd(), level, name, (&raw const bytes).cast(), 4)
        };
        assert_eq!(set, 0);
        self
    }
}

/// Take a task that was offered.
#[track_caller]
fn take(host: &Client, (id, version): &(String, u64)) -> Value {
    grant(host, "task.acquire", json!({ "id": id, "version": version, "pid": "worker", "ttl": 60_000 }))
}

/// Fulfil a task that was taken, at this version.
#[track_caller]
fn fulfill(host: &Client, id: &str, version: u64, value: &Value) {
    let action = json!({ "kind": "promise.settle", "head": {}, "data": settlement(id, value) });
    grant(host, "task.fulfill", json!({ "id": id, "version": version, "action": action }));
}
