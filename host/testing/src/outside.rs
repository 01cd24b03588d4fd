//! What is outside of the functions that are tested: other systems that answer their requests, and their configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use machine::{Config, Digest, Egress, HttpHead, Id, Limit, Outcome, Variable};
use serde::Deserialize;

use host_runtime::{Answer, Trouble, TroubleKind};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Another system, as far as it answers requests whose addresses begin alike.
///
/// It knows a request again by its idempotency key, as a good system does: one that is sent again after a crash gets the
/// answer that it had, unless [`again`](Stub::again) says what else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    url: String,
    method: Option<String>,
    after_ms: u64,
    answers: Vec<Outcome>,
    again: Option<Outcome>,
}

/// What a function is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    variables: BTreeMap<String, (String, bool)>,
    allow: Vec<Egress>,
    limits: BTreeMap<Limit, u64>,
}

/// A stub as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStub {
    url: String,
    method: Option<String>,
    #[serde(default)]
    after_ms: u64,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<serde_json::Value>,
    error: Option<TroubleKind>,
    #[serde(default)]
    answers: Vec<WrittenAnswer>,
    again: Option<WrittenAnswer>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAnswer {
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<serde_json::Value>,
    error: Option<TroubleKind>,
}

/// A configuration as it is written, and as `host config list --json` prints it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenConfiguration {
    #[serde(default)]
    variables: BTreeMap<String, WrittenVariable>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    limits: BTreeMap<String, u64>,
    #[serde(default, rename = "revision")]
    _revision: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVariable {
    value: Option<String>,
    #[serde(default)]
    secret: bool,
    #[serde(default, rename = "digest")]
    _digest: String,
}

impl Stub {
    /// Of what requests whose addresses begin like this are sent to: 200 and an empty body, at once, unless said.
    pub fn new(url: impl Into<String>) -> Stub {
        Stub { url: url.into(), method: None, after_ms: 0, answers: Vec::new(), again: None }
    }

    /// Requests with this method only.
    pub fn method(mut self, method: impl Into<String>) -> Stub {
        self.method = Some(method.into());
        self
    }

    /// What it answers. Said several times, requests with different keys get one after the other, and the last one is for
    /// all that follow.
    pub fn answer(mut self, status: u16, body: impl Into<Bytes>) -> Stub {
        self.answers.push(answer(status, body.into()));
        self
    }

    /// A request gets no answer, for this reason: in the place of one.
    pub fn fails(mut self, kind: TroubleKind) -> Stub {
        self.answers.push(trouble(kind));
        self
    }

    /// How long it takes, in virtual time.
    pub fn after(mut self, time: Duration) -> Stub {
        self.after_ms = time.as_millis() as u64;
        self
    }

    /// What it answers when a request arrives again: it doesn't know what a key is for.
    pub fn again(mut self, status: u16, body: impl Into<Bytes>) -> Stub {
        self.again = Some(answer(status, body.into()));
        self
    }

    /// From JSON: an array of objects with a `url`, and with `method`, `status`, `headers`, `body`, `error`, `after_ms`,
    /// `answers` (an array of what has a `status`, `headers` and a `body`, or an `error`) and `again` (one of those). A body
    /// that isn't a text is sent as JSON.
    pub fn read(json: &str) -> Result<Vec<Stub>, String> {
        let written: Vec<WrittenStub> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        written.into_iter().map(Stub::from_written).collect()
    }

    fn from_written(written: WrittenStub) -> Result<Stub, String> {
        let WrittenStub { url, method, after_ms, status, headers, body, error, answers, again } = written;
        let own = WrittenAnswer { status, headers, body, error };
        let is_own = own.status.is_some() || own.body.is_some() || own.error.is_some() || !own.headers.is_empty();
        if is_own && !answers.is_empty() {
            return Err(format!("what answers {url:?} has answers, and an answer beside them"));
        }
        if Stub::origin(&url).is_none() {
            return Err(format!("{url:?} is not the beginning of an address such as https://api.example.com/v1/"));
        }
        let answers =
            if is_own { vec![own.outcome()] } else { answers.into_iter().map(WrittenAnswer::outcome).collect() };
        Ok(Stub { url, method, after_ms, answers, again: again.map(WrittenAnswer::outcome) })
    }

    /// Where it is.
    fn origin(url: &str) -> Option<Egress> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        Egress::parse(&format!("{scheme}://{authority}")).ok()
    }

    fn answers(&self, head: &HttpHead) -> bool {
        head.url.starts_with(&self.url) && self.method.as_ref().is_none_or(|method| *method == head.method)
    }
}

impl WrittenAnswer {
    fn outcome(self) -> Outcome {
        if let Some(kind) = self.error {
            return trouble(kind);
        }
        let mut headers: Vec<(String, String)> = self.headers.into_iter().collect();
        let body = match self.body {
            None => Bytes::new(),
            Some(serde_json::Value::String(text)) => text.into(),
            Some(json) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type".into(), "application/json".into()));
                }
                json.to_string().into()
            }
        };
        Answer { status: self.status.unwrap_or(200), headers, body }.outcome()
    }
}

fn answer(status: u16, body: Bytes) -> Outcome {
    Answer { status, headers: Vec::new(), body }.outcome()
}

fn trouble(error: TroubleKind) -> Outcome {
    Trouble { error, message: "the test says that it fails".into() }.outcome()
}

impl Configuration {
    /// With a variable that it finds in its environment.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Configuration {
        self.variables.insert(name.into(), (value.into(), false));
        self
    }

    /// With one that is kept out of what it prints and of what is kept of its requests.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Configuration {
        self.variables.insert(name.into(), (value.into(), true));
        self
    }

    /// With what it may send requests to: `api.example.com`, `*.example.com`, `*`. Without any, that is what
    /// [stubs](Stub) answer for.
    pub fn allow(mut self, host: &str) -> Result<Configuration, String> {
        self.allow.push(Egress::parse(host)?);
        Ok(self)
    }

    /// With a limit by its name: in milliseconds, bytes or numbers.
    pub fn limit(mut self, name: &str, value: u64) -> Result<Configuration, String> {
        let limit = Limit::parse(name).ok_or_else(|| format!("there is no limit {name:?}"))?;
        self.limits.insert(limit, value);
        Ok(self)
    }

    /// From JSON, as `host config list --json` prints it, but with the values of secrets:
    /// `{"variables": {"NAME": {"value": "…", "secret": true}}, "allow": ["…"], "limits": {"cpu": 100}}`.
    pub fn read(json: &str) -> Result<Configuration, String> {
        let written: WrittenConfiguration = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let mut configuration = Configuration::default();
        for (name, WrittenVariable { value, secret, .. }) in written.variables {
            let value = value.ok_or_else(|| format!("{name} has no value"))?;
            configuration.variables.insert(name, (value, secret));
        }
        for host in &written.allow {
            configuration = configuration.allow(host)?;
        }
        for (name, value) in &written.limits {
            configuration = configuration.limit(name, *value)?;
        }
        let config = configuration.config();
        config.check().map(|()| configuration)
    }

    /// As a record has it.
    pub(super) fn config(&self) -> Config {
        let variable = |(name, (value, secret)): (&String, &(String, bool))| {
            (name.clone(), Variable { digest: digest(value), secret: *secret })
        };
        Config {
            variables: self.variables.iter().map(variable).collect(),
            egress: self.allow.iter().cloned().collect(),
            limits: self.limits.clone(),
        }
    }

    /// The values, by what stands for them in a record.
    pub(super) fn values(&self) -> impl Iterator<Item = (Digest, String)> {
        self.variables.values().map(|(value, _)| (digest(value), value.clone()))
    }

    pub(super) fn allows_nothing(&self) -> bool {
        self.allow.is_empty()
    }
}

/// Of a value. Nobody is to be kept from guessing it here.
fn digest(value: &str) -> Digest {
    Digest::of(value.as_bytes())
}

/// What requests may be sent to if no configuration says it: whatever has an answer.
pub(super) fn answered(stubs: &[Stub]) -> Config {
    Config { egress: stubs.iter().filter_map(|stub| Stub::origin(&stub.url)).collect(), ..Config::default() }
}

/// The other systems, in one run: what arrived at them, and what they are about to answer.
#[derive(Default)]
pub(super) struct Outside {
    arrived: Vec<Arrival>,
    /// When each is answered, and how, in the order in which they arrived.
    due: Vec<(u64, Id, Outcome)>,
}

struct Arrival {
    id: Id,
    key: String,
    stub: Option<usize>,
}

impl Outside {
    /// A request arrives that was sent at a time. It is answered if `is_answered`; otherwise the answer is lost.
    pub(super) fn arrive(&mut self, stubs: &[Stub], id: &Id, head: &HttpHead, sent_at: u64, is_answered: bool) {
        let key = head.headers.iter().find(|(name, _)| name == IDEMPOTENCY_KEY).map(|(_, value)| value.clone());
        let key = key.unwrap_or_default();
        let index = stubs.iter().position(|stub| stub.answers(head));
        let before = self.arrived.iter().position(|arrival| arrival.key == key && arrival.stub == index);
        let others = self.arrived[..before.unwrap_or(self.arrived.len())].iter();
        let mut others: Vec<&str> =
            others.filter(|other| other.stub == index).map(|other| other.key.as_str()).collect();
        others.sort_unstable();
        others.dedup();
        let stub = index.map(|index| &stubs[index]);
        let outcome = match stub {
            None => {
                let message = format!("nothing in this test answers {} {}", head.method, head.url);
                Trouble { error: TroubleKind::NotConnected, message }.outcome()
            }
            Some(stub) => {
                let own = stub.answers.get(others.len()).or(stub.answers.last());
                let again = stub.again.as_ref().filter(|_| before.is_some());
                again.or(own).cloned().unwrap_or_else(|| answer(200, Bytes::new()))
            }
        };
        self.arrived.push(Arrival { id: id.clone(), key, stub: index });
        if is_answered {
            let after_ms = stub.map_or(0, |stub| stub.after_ms);
            self.due.push((sent_at.saturating_add(after_ms), id.clone(), outcome));
        }
    }

    /// How often a request has arrived.
    pub(super) fn arrivals(&self, id: &Id) -> usize {
        self.arrived.iter().filter(|arrival| arrival.id == *id).count()
    }

    /// The answers that are due by now of requests that are still waited for.
    pub(super) fn due(&mut self, now: u64, is_pending: impl Fn(&Id) -> bool) -> Vec<(u64, Id)> {
        self.due.retain(|(_, id, _)| is_pending(id));
        self.due.iter().filter(|(at, ..)| *at <= now).map(|(at, id, _)| (*at, id.clone())).collect()
    }

    /// An answer, which is under way no more.
    pub(super) fn take(&mut self, id: &Id) -> Option<Outcome> {
        let index = self.due.iter().position(|(_, due, _)| due == id)?;
        Some(self.due.remove(index).2)
    }

    /// When the next answer comes.
    pub(super) fn next(&self, now: u64, is_pending: impl Fn(&Id) -> bool) -> Option<u64> {
        self.due.iter().filter(|(at, id, _)| *at > now && is_pending(id)).map(|(at, ..)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, url: &str, key: &str) -> HttpHead {
        let headers = vec![(IDEMPOTENCY_KEY.to_owned(), key.to_owned())];
        HttpHead { method: method.into(), url: url.into(), headers, ..HttpHead::default() }
    }

    fn status(outcome: Option<Outcome>) -> u16 {
        match outcome {
            Some(Outcome::Resolved(payload)) => serde_json::from_slice::<Answer>(&payload).unwrap().status,
            _ => 0,
        }
    }

    #[test]
    fn a_request_is_known_again_by_its_key() {
        let json = r#"[{"url":"https://a/pay","method":"POST","answers":[{"status":503},{"status":200,"body":{"ok":1}}]},
            {"url":"https://a/","status":404,"again":{"status":409}}]"#;
        let stubs = Stub::read(json).unwrap();
        let mut outside = Outside::default();
        let mut ask = |id: &str, method: &str, url: &str, key: &str| {
            let id = Id::parse(id).unwrap();
            outside.arrive(&stubs, &id, &head(method, url, key), 5, true);
            assert_eq!(outside.due(5, |_| true).len(), 1);
            status(outside.take(&id))
        };
        assert_eq!(ask("t:1", "POST", "https://a/pay/1", "a"), 503);
        assert_eq!(ask("t:1", "POST", "https://a/pay/1", "a"), 503, "the same one");
        assert_eq!(ask("t:2", "POST", "https://a/pay/1", "b"), 200);
        assert_eq!(ask("t:3", "POST", "https://a/pay/2", "c"), 200, "the last answer is for all that follow");
        assert_eq!(ask("t:4", "GET", "https://a/pay/2", "d"), 404);
        assert_eq!(ask("t:4", "GET", "https://a/pay/2", "d"), 409);
        assert_eq!(ask("t:5", "GET", "https://b/", "e"), 0, "nobody answers there");
        assert_eq!(outside.arrivals(&Id::parse("t:1").unwrap()), 2);
    }

    #[test]
    fn what_is_written_wrongly_is_said() {
        for (json, part) in [
            ("{}", "expected a sequence"),
            (r#"[{"url":"a"}]"#, "is not the beginning of an address"),
            (r#"[{"url":"http://a","status":200,"answers":[{}]}]"#, "an answer beside them"),
            (r#"[{"url":"http://a","error":"tired"}]"#, "unknown variant"),
        ] {
            let said = Stub::read(json).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
        for (json, part) in [
            (r#"{"variables":{"A":{"secret":true}}}"#, "A has no value"),
            (r#"{"limits":{"heap":1}}"#, "there is no limit"),
            (r#"{"allow":["ftp://a"]}"#, "neither http nor https"),
        ] {
            let said = Configuration::read(json).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}
