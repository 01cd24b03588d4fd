//! Messages to URLs: to targets that take them, that hang, and that answer nonsense.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use tests::Setup;

use super::{ask, fulfill, grant, promise, take};

/// Something that listens, and its address.
struct Target(TcpListener);

impl Target {
    fn new() -> Target {
        Target(TcpListener::bind("127.0.0.1:0").expect("there is a free port"))
    }

    fn url(&self) -> String {
        format!("http://{}/inbox", self.0.local_addr().expect("it listens"))
    }

    /// The next message, which is answered with this.
    #[track_caller]
    fn next(&self, answer: &str) -> Value {
        let (stream, _) = self.0.accept().expect("somebody connects");
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).expect("a head comes") > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body comes");
        let mut stream: TcpStream = reader.into_inner();
        stream.write_all(answer.as_bytes()).expect("it can be answered");
        serde_json::from_slice(&body).expect("messages are JSON")
    }
}

const TAKEN: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

#[test]
fn a_worker_at_a_url_is_offered_tasks_and_told_results() {
    let host = Setup::new().bare().start();
    let target = Target::new();
    grant(&host, "promise.create", promise("t", json!({ "resonate:target": target.url() })));
    let message = target.next(TAKEN);
    assert_eq!(message["kind"], "execute");
    assert_eq!(message["head"]["serverUrl"], host.url());
    assert_eq!(message["data"]["task"], json!({ "id": "t", "version": 0 }));
    grant(&host, "promise.register_listener", json!({ "awaited": "t", "address": target.url() }));
    take(&host, &("t".into(), 0));
    fulfill(&host, "t", 1, &json!(1));
    // A message that wasn't taken comes again.
    for answer in ["HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "nonsense\r\n\r\n", TAKEN] {
        let message = target.next(answer);
        assert_eq!((&message["kind"], &message["data"]["promise"]["id"]), (&json!("unblock"), &json!("t")));
    }
}

#[test]
fn a_target_that_hangs_keeps_no_other_waiting() {
    let host = Setup::new().bare().start();
    // It takes connections, and never answers.
    let (hangs, target) = (Target::new(), Target::new());
    for n in 0..50 {
        grant(&host, "promise.create", promise(&format!("h{n}"), json!({ "resonate:target": hangs.url() })));
    }
    grant(&host, "promise.create", promise("t", json!({ "resonate:target": target.url() })));
    assert_eq!(target.next(TAKEN)["data"]["task"]["id"], "t");
    assert_eq!(ask(&host, "promise.get", json!({ "id": "t" })).0, 200);
}
