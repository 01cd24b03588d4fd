//! A client of the host's HTTP API. Methods without `try_` panic, with what was asked and answered, if the answer isn't
//! the one that all is well with.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::{PATIENCE, until};

/// Where a host is, and connections to it.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    url: String,
}

/// What a host answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When it can be asked again, in seconds, if it says.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub text: String,
}

/// There was no answer: the host is gone.
#[derive(Debug)]
pub struct Failed(String);

/// Something that happened in an execution, as it was streamed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `journal`, `log` or `settled`.
    pub name: String,
    /// Its document.
    pub data: Value,
}

/// The events of an execution, as they come. It ends when the stream does.
pub struct Events(BufReader<Box<dyn std::io::Read>>);

impl Client {
    /// Of the host at this address.
    pub fn new(url: &str) -> Client {
        Client::with_timeout(url, 2 * PATIENCE)
    }

    /// The same, but one that waits for an answer for three seconds only.
    pub fn impatient(&self) -> Client {
        Client::with_timeout(&self.url, Duration::from_secs(3))
    }

    fn with_timeout(url: &str, timeout: Duration) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // 300 is an answer of the promise protocol, and leads nowhere.
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .build();
        Client { agent: Agent::new_with_config(config), url: url.to_owned() }
    }

    /// Where the host is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GET.
    pub fn try_get(&self, path: &str) -> Result<Answer, Failed> {
        answer(self.agent.get(format!("{}{path}", self.url)).call())
    }

    /// POST.
    pub fn try_post(&self, path: &str, body: &[u8]) -> Result<Answer, Failed> {
        answer(self.agent.post(format!("{}{path}", self.url)).send(body))
    }

    /// DELETE, of a host that is there.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        let answered = answer(self.agent.delete(format!("{}{path}", self.url)).call());
        answered.unwrap_or_else(|error| panic!("DELETE {path}: {}", error.0))
    }

    /// POST with a header.
    pub fn post_with(&self, path: &str, (name, value): (&str, &str), body: &Value) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.url)).header(name, value);
        answer(request.send(body.to_string())).unwrap_or_else(|error| panic!("POST {path}: {}", error.0))
    }

    /// POST bytes with a header.
    pub fn try_post_with(&self, path: &str, (name, value): (&str, &str), body: &[u8]) -> Result<Answer, Failed> {
        answer(self.agent.post(format!("{}{path}", self.url)).header(name, value).send(body))
    }

    /// GET, of a host that is there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {}", error.0))
    }

    /// GET with a header, of a host that is there.
    #[track_caller]
    pub fn get_with(&self, path: &str, (name, value): (&str, &str)) -> Answer {
        let answered = answer(self.agent.get(format!("{}{path}", self.url)).header(name, value).call());
        answered.unwrap_or_else(|error| panic!("GET {path}: {}", error.0))
    }

    /// POST JSON, to a host that is there.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body.to_string().as_bytes()).unwrap_or_else(|error| panic!("POST {path}: {}", error.0))
    }

    /// POST without a body.
    #[track_caller]
    pub fn post_empty(&self, path: &str) -> Answer {
        self.try_post(path, b"").unwrap_or_else(|error| panic!("POST {path}: {}", error.0))
    }

    /// Upload a component.
    #[track_caller]
    pub fn upload(&self, wasm: &[u8]) -> Answer {
        self.try_post("/v1/components", wasm).unwrap_or_else(|error| panic!("uploading a component: {}", error.0))
    }

    /// Call a function under an id of the host's choice and wait for its end: its document.
    #[track_caller]
    pub fn invoke(&self, function: &str, arguments: Value) -> Value {
        self.post(&format!("/v1/functions/{function}/invoke"), &arguments).expect(200)
    }

    /// Call a function and wait for its result.
    #[track_caller]
    pub fn call(&self, function: &str, arguments: Value) -> Value {
        let document = self.invoke(function, arguments.clone());
        assert_eq!(document["state"], "resolved", "{function}{arguments}: {document}");
        document["value"].clone()
    }

    /// Call a function under an id, without waiting for it.
    #[track_caller]
    pub fn start(&self, id: &str, function: &str, arguments: Value) -> Value {
        let answer = self.post(&format!("/v1/functions/{function}/invoke?id={id}&wait_ms=0"), &arguments);
        assert!(matches!(answer.status, 200 | 202), "{function}{arguments} as {id}: {answer:?}");
        answer.json()
    }

    /// A promise or execution, once it is settled.
    #[track_caller]
    pub fn wait(&self, id: &str) -> Value {
        until(&format!("{id} is settled"), || {
            let document = self.get(&format!("/v1/promises/{id}?wait_ms=10000")).expect(200);
            (document["state"] != "pending").then_some(document)
        })
    }

    /// A promise or execution as it is.
    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        self.get(&format!("/v1/executions/{id}")).expect(200)
    }

    /// The items of a list.
    #[track_caller]
    pub fn items(&self, path: &str) -> Vec<Value> {
        match self.get(path).expect(200)["items"].take() {
            Value::Array(items) => items,
            other => panic!("GET {path}: the items are {other}"),
        }
    }

    /// What an execution wrote: its lines, without the times.
    #[track_caller]
    pub fn lines(&self, id: &str) -> Vec<String> {
        let lines = self.items(&format!("/v1/executions/{id}/logs"));
        lines.iter().map(|line| line["text"].as_str().expect("text is text").to_owned()).collect()
    }

    /// Make a promise. Its id, which is made up if `new` has none.
    #[track_caller]
    pub fn promise(&self, new: Value) -> String {
        let document = self.post("/v1/promises", &new).expect(201);
        document["id"].as_str().expect("ids are text").to_owned()
    }

    /// Settle a promise: how is `resolve`, `reject` or `cancel`.
    #[track_caller]
    pub fn settle(&self, id: &str, how: &str, value: &Value) -> Answer {
        self.post(&format!("/v1/promises/{id}/{how}"), value)
    }

    /// How the host is.
    #[track_caller]
    pub fn health(&self) -> Value {
        self.get("/health").expect(200)
    }

    /// Stream what an execution does. `query` says from where on.
    #[track_caller]
    pub fn events(&self, id: &str, query: &str) -> Events {
        let path = format!("/v1/executions/{id}/events{query}");
        let answered = self.agent.get(format!("{}{path}", self.url)).call();
        let answered = answered.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answered.status(), 200, "GET {path}");
        Events(BufReader::new(Box::new(answered.into_body().into_reader())))
    }
}

impl Answer {
    /// The document, if the status is the expected one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// The message of an error, if the status and the code are the expected ones.
    #[track_caller]
    pub fn refusal(&self, status: u16, code: &str) -> String {
        let document = self.expect(status);
        assert_eq!(document["error"]["code"], json!(code), "{document}");
        document["error"]["message"].as_str().expect("a message is text").to_owned()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut name, mut data) = (None, String::new());
        loop {
            let mut line = String::new();
            // A host that is killed in the middle ends the stream as well.
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("event: ") {
                name = Some(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("data: ") {
                data.push_str(rest);
            } else if line.is_empty()
                && let Some(name) = name.take()
            {
                let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                return Some(Event { name, data });
            }
        }
    }
}

fn answer(answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Failed> {
    let failed = |error: ureq::Error| Failed(error.to_string());
    let mut answered = answered.map_err(failed)?;
    let status = answered.status().as_u16();
    let retry_after_s = answered.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = answered.body_mut().with_config().limit(256 << 20).read_to_string().map_err(failed)?;
    Ok(Answer { status, retry_after_s, text })
}
