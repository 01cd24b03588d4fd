//! A client of the promise protocol: envelopes at `POST /`, messages at `GET /poll/{group}/{id}`.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use serde_json::{Value, json};
use ureq::Agent;

use crate::{Client, PATIENCE};

/// The version of the protocol that is spoken here.
pub const VERSION: &str = "2026-04-01";

/// What a request was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Of the envelope. That of HTTP is the same.
    pub status: u64,
    /// What belongs to it. A text that says what is wrong, if something is.
    pub data: Value,
}

/// Messages for a member of a group, as they come.
pub struct Poll(Receiver<Value>);

impl Client {
    /// Ask for something.
    #[track_caller]
    pub fn ask(&self, kind: &str, data: Value) -> Reply {
        self.envelope(kind, json!({}), data)
    }

    /// Ask for something, at this time.
    #[track_caller]
    pub fn ask_at(&self, now: u64, kind: &str, data: Value) -> Reply {
        self.envelope(kind, json!({ "resonate:debug_time": now }), data)
    }

    #[track_caller]
    fn envelope(&self, kind: &str, mut head: Value, data: Value) -> Reply {
        head["corrId"] = json!("c-1");
        head["version"] = json!(VERSION);
        let answer = self.post("/", &json!({ "kind": kind, "head": head, "data": data }));
        let envelope = answer.json();
        let status = envelope["head"]["status"].as_u64();
        assert_eq!(status, Some(u64::from(answer.status)), "{kind}{data}: {envelope}");
        assert_eq!((&envelope["kind"], &envelope["head"]["corrId"]), (&json!(kind), &json!("c-1")), "{envelope}");
        Reply { status: u64::from(answer.status), data: envelope["data"].clone() }
    }

    /// Become a member of a group.
    #[track_caller]
    pub fn poll(&self, group: &str, id: &str) -> Poll {
        let agent = Agent::new_with_config(Agent::config_builder().timeout_connect(Some(PATIENCE)).build());
        let url = format!("{}/poll/{group}/{id}", self.url());
        let response = agent.get(&url).header("accept", "text/event-stream").call();
        let reader = response.unwrap_or_else(|error| panic!("GET {url}: {error}")).into_body().into_reader();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let Some(message) = line.strip_prefix("data:") else { continue };
                let message = serde_json::from_str(message).expect("messages are JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Poll(receiver)
    }
}

impl Reply {
    /// What belongs to the answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u64) -> Value {
        assert_eq!(self.status, status, "{}", self.data);
        self.data
    }
}

impl Poll {
    /// The next message. It is waited for.
    #[track_caller]
    pub fn next(&self) -> Value {
        match self.0.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} in vain for a message"),
            Err(RecvTimeoutError::Disconnected) => panic!("the stream of messages has ended"),
        }
    }

    /// The next message, and the task and version that it names.
    #[track_caller]
    pub fn execute(&self) -> (String, u64) {
        let message = self.next();
        assert_eq!(message["kind"], "execute", "{message}");
        let task = &message["data"]["task"];
        let id = task["id"].as_str().unwrap_or_else(|| panic!("no task in {message}"));
        (id.to_owned(), task["version"].as_u64().unwrap_or_else(|| panic!("no version in {message}")))
    }
}
