//! HTTP to a host: requests, answers, and what it means when there is none.

use std::io::{self, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use super::documents::{self, Items, Json};
use super::failure::Failure;

/// Where `serve` listens unless it is told otherwise.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:7700";

/// The token that a host wants, for `serve` and for its clients.
pub(super) const TOKEN_VARIABLE: &str = "HOST_TOKEN";

/// How long a host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a host may take to answer, beyond what it was asked to wait.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a stream of events may be silent; a host sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// The host that a command is about.
pub(super) struct Client {
    agent: Agent,
    url: String,
    /// What the host wants of everybody, if it does.
    token: Option<String>,
}

/// Names and values behind the `?` of an address.
pub(super) type Query<'a> = &'a [(&'a str, String)];

/// An answer: the document as it came, and what is understood of it.
pub(super) struct Answer<T> {
    pub(super) text: String,
    pub(super) document: T,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Client, Failure> {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            return Err(Failure::Usage(format!("{url} can't be reached: this client speaks http:// only")));
        };
        let host = authority.split('/').next().unwrap_or_default();
        if host.is_empty() {
            return Err(Failure::Usage(format!("{url} is not the address of a host, such as {DEFAULT_URL}")));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("host/", env!("CARGO_PKG_VERSION")));
        // A proxy that the environment names is for the world outside.
        if is_here(host) {
            config = config.proxy(None);
        }
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        Ok(Client { agent: config.build().into(), url: format!("http://{authority}"), token })
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// Ask for a document.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, query: Query) -> Result<Answer<T>, Failure> {
        let request = self.authorized(self.agent.get(format!("{}{path}", self.url))).query_pairs(pairs(query));
        let request = request.config().timeout_recv_response(Some(ANSWER + waited(query))).build();
        self.understand(request.call())
    }

    /// Ask for something to be done.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
        body: &[u8],
    ) -> Result<Answer<T>, Failure> {
        let request = self.authorized(self.agent.post(format!("{}{path}", self.url))).query_pairs(pairs(query));
        let request = request.config().timeout_recv_response(Some(ANSWER + waited(query))).build();
        self.understand(request.content_type("application/json").send(body))
    }

    /// Send a component to be kept.
    pub(super) fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
        body: &[u8],
    ) -> Result<Answer<T>, Failure> {
        self.send_file(path, query, body, Duration::from_secs(600))
    }

    /// Ask for something to be removed. Removing a large tree takes a while.
    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failure> {
        let request = self.authorized(self.agent.delete(format!("{}{path}", self.url)));
        let request = request.config().timeout_recv_response(Some(Duration::from_secs(600))).build();
        self.understand(request.call())
    }

    /// Send a file. The host is asked first whether it wants one of that size, because it may close the connection on
    /// one that it doesn't, and then its reason is lost.
    pub(super) fn send_file<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
        body: &[u8],
        patience: Duration,
    ) -> Result<Answer<T>, Failure> {
        let request = self.authorized(self.agent.post(format!("{}{path}", self.url))).query_pairs(pairs(query));
        let request = request.header("expect", "100-continue");
        let request = request.config().timeout_recv_response(Some(patience)).build();
        self.understand(request.content_type("application/wasm").send(body))
    }

    /// Ask for a file.
    pub(super) fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = self.authorized(self.agent.get(format!("{}{path}", self.url)));
        let request = request.config().timeout_recv_response(Some(ANSWER)).build();
        let mut response = request.call().map_err(|error| self.no_answer(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|error| self.no_answer(error))
    }

    /// Ask for a stream of events: its lines as they come.
    pub(super) fn stream(&self, path: &str, query: Query) -> Result<impl Read + use<>, Failure> {
        let request = self.authorized(self.agent.get(format!("{}{path}", self.url))).query_pairs(pairs(query));
        let request = request.header("accept", "text/event-stream");
        let request = request.config().timeout_per_read(Some(SILENCE)).build();
        let response = request.call().map_err(|error| self.no_answer(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// A list that comes in parts, each beginning `from` where the one before ended, as one.
    pub(super) fn all(&self, path: &str) -> Result<Vec<Json>, Failure> {
        let mut all: Vec<Json> = Vec::new();
        loop {
            let part = self.get::<Items<Json>>(path, &[("from", all.len().to_string())])?.document;
            let is_last = !part.truncated || part.items.is_empty();
            all.extend(part.items);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Read a document out of another one.
    pub(super) fn read<T: DeserializeOwned>(&self, json: &str) -> Result<T, Failure> {
        serde_json::from_str(json).map_err(|error| self.misunderstood(&error))
    }

    /// The connection broke while something was read from it.
    pub(super) fn lost(&self, error: &io::Error) -> Failure {
        Failure::Lost { url: self.url.clone(), reason: error.to_string() }
    }

    fn understand<T: DeserializeOwned>(
        &self,
        response: Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer<T>, Failure> {
        let mut response = response.map_err(|error| self.no_answer(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        let text = self.text(&mut response)?;
        let document = self.read(&text)?;
        Ok(Answer { text, document })
    }

    fn text(&self, response: &mut Response<Body>) -> Result<String, Failure> {
        response.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(|error| self.no_answer(error))
    }

    fn refusal(&self, mut response: Response<Body>) -> Failure {
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = match self.text(&mut response) {
            Ok(text) => text,
            Err(failure) => return failure,
        };
        match serde_json::from_str::<documents::Error>(&text) {
            // It took the connection on its way out. Whether it did what was asked is not known.
            Ok(refusal) if refusal.error.code == "stopping" => {
                Failure::Lost { url: self.url.clone(), reason: refusal.error.message }
            }
            Ok(documents::Error { error }) => Failure::Refused {
                status: status.as_u16(),
                code: error.code,
                message: error.message,
                retry_after: retry_after.map(Duration::from_secs),
            },
            Err(_) => Failure::Misunderstood { url: self.url.clone(), reason: format!("the status is {status}") },
        }
    }

    /// Nothing was sent, or it is not known what became of it.
    fn no_answer(&self, error: ureq::Error) -> Failure {
        use ureq::{Error as E, Timeout};
        let url = self.url.clone();
        match error {
            E::BadUri(_) | E::Http(_) => Failure::Usage(format!("{url} is not the address of a host: {error}")),
            E::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Failure::Unreachable { url, reason: "nobody listens there".into() }
            }
            E::HostNotFound | E::ConnectionFailed | E::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Failure::Unreachable { url, reason: error.to_string() }
            }
            E::Io(error) => match error.kind() {
                io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => Failure::Unreachable { url, reason: error.to_string() },
                _ => Failure::Lost { url, reason: error.to_string() },
            },
            error => Failure::Lost { url, reason: error.to_string() },
        }
    }

    fn misunderstood(&self, error: &serde_json::Error) -> Failure {
        Failure::Misunderstood { url: self.url.clone(), reason: error.to_string() }
    }
}

/// Whether a host's name is that of this machine.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How long the host was asked to wait before it answers.
fn waited(query: Query) -> Duration {
    let wait = query.iter().find(|(name, _)| *name == "wait_ms");
    Duration::from_millis(wait.and_then(|(_, ms)| ms.parse().ok()).unwrap_or(0))
}

fn pairs<'a>(query: Query<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str()))
}

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    // Alone, dots would mean another path.
    if name == "." || name == ".." { name.replace('.', "%2E") } else { name.bytes().map(encode).collect() }
}

/// Check that an argument of a command is JSON, and say where it isn't.
pub(super) fn check_json(what: &str, text: &str) -> Result<(), Failure> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Usage(format!(
            "{what} must be JSON: {error}\n(a text is written with its quotes, inside those of the shell: '\"text\"')"
        ))),
    }
}

/// `{"items": […]}`, of documents as they came.
pub(super) fn items_json<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("{{\"items\":[{}]}}", items.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = |url: &str| Client::new(url).map(|client| client.url).ok();
        assert_eq!(url("http://a:1/").as_deref(), Some("http://a:1"));
        assert_eq!(url("a:1").as_deref(), Some("http://a:1"));
        assert_eq!(url("https://a:1"), None);
        assert_eq!(url("http://"), None);
    }

    #[test]
    fn a_proxy_is_not_asked_for_what_is_here() {
        assert!(
            is_here("localhost:7700") && is_here("127.0.0.1:7700") && is_here("[::1]:7700") && is_here("127.0.0.2")
        );
        assert!(!is_here("example.com:80") && !is_here("10.0.0.1:7700"));
    }

    #[test]
    fn any_name_is_one_segment() {
        assert_eq!(segment("order-7:1.2"), "order-7:1.2");
        assert_eq!(segment("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
