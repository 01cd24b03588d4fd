//! Requests to other systems.
//!
//! A request is a step: it is sent when everything before it is durable, what came of it is recorded, and a replay is told
//! the same again. After a crash of the host, a request without an answer is sent again, with the same
//! `idempotency-key`, by which the other side can tell that it is the same. The function's configuration must allow the
//! host that it goes to: `host config set FUNCTION --allow api.example.com`.
//!
//! ```no_run
//! use guest_sdk::{http, prelude::*};
//!
//! #[data]
//! struct Rate { euros: f64 }
//!
//! #[function]
//! async fn convert(dollars: f64) -> Result<f64> {
//!     let key = std::env::var("RATES_KEY")?;
//!     let response = http::get("https://rates.example.com/usd").header("authorization", format!("Bearer {key}")).await?;
//!     Ok(dollars * response.success()?.json::<Rate>()?.euros)
//! }
//! ```

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{self, HttpFailure};
use crate::time::whole_ms;
use crate::waiting::Waiting;

/// A `GET` request.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// let text = http::get("https://example.com/").await?.text().into_owned();
/// # Ok(()) }
/// ```
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `POST` request.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// http::post("https://example.com/orders").json(&["tea", "bread"]).await?.success()?;
/// # Ok(()) }
/// ```
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A `PUT` request.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// http::put("https://example.com/notes/7").body("milk").await?.success()?;
/// # Ok(()) }
/// ```
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A `DELETE` request.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// http::delete("https://example.com/notes/7").await?.success()?;
/// # Ok(()) }
/// ```
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request of any method.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// http::request("PATCH", "https://example.com/notes/7").body("more milk").await?;
/// # Ok(()) }
/// ```
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    let request = host::Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
    };
    Request { parts: Some(Ok(request)), waiting: Waiting::Done }
}

/// A request, to be awaited. It is sent when it is first polled; dropping it gives it up.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// let request: http::Request = http::get("https://example.com/");
/// let response: http::Response = request.await?;
/// # Ok(()) }
/// ```
#[must_use = "a request is sent when it is awaited"]
pub struct Request {
    /// None once it is sent. An error is that of a body that can't be written as JSON.
    parts: Option<Result<host::Request, Error>>,
    waiting: Waiting<'static, Result<Response, Error>>,
}

impl Request {
    /// With a header.
    ///
    /// ```no_run
    /// # use guest_sdk::http;
    /// let request = http::get("https://example.com/").header("accept", "application/json");
    /// ```
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.with(|request| request.headers.push((name.into(), value.into())))
    }

    /// With a body.
    ///
    /// ```no_run
    /// # use guest_sdk::http;
    /// let request = http::post("https://example.com/").header("content-type", "text/plain").body("hello");
    /// ```
    pub fn body(self, body: impl Into<Vec<u8>>) -> Request {
        self.with(|request| request.body = body.into())
    }

    /// With a body of JSON, and the header that says so.
    ///
    /// ```no_run
    /// # use guest_sdk::http;
    /// let request = http::post("https://example.com/").json(&("tea", 2));
    /// ```
    pub fn json(mut self, value: &impl Serialize) -> Request {
        match serde_json::to_vec(value) {
            Ok(json) => self.header("content-type", "application/json").body(json),
            Err(error) => {
                let message = format!("the body can't be written as JSON: {error}");
                self.parts = Some(Err(Error { kind: ErrorKind::InvalidRequest, message }));
                self
            }
        }
    }

    /// How long it may take until the response begins. Without it, it is a minute.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// let request = http::get("https://example.com/slow").timeout(Duration::from_secs(300));
    /// ```
    pub fn timeout(self, timeout: Duration) -> Request {
        self.with(|request| request.timeout_ms = Some(whole_ms(timeout)))
    }

    fn with(mut self, change: impl FnOnce(&mut host::Request)) -> Request {
        if let Some(Ok(request)) = &mut self.parts {
            change(request);
        }
        self
    }
}

impl Future for Request {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(parts) = self.parts.take() {
            self.waiting = Waiting::new(|| async {
                let host::Response { status, headers, body } = host::send(parts?).await?;
                Ok(Response { status, headers, body })
            });
        }
        self.waiting.poll(context)
    }
}

impl FusedFuture for Request {
    fn is_terminated(&self) -> bool {
        self.parts.is_none() && self.waiting.is_done()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Ok(request)) = &self.parts else { return f.write_str("Request") };
        f.debug_struct("Request").field("method", &request.method).field("url", &request.url).finish()
    }
}

/// The answer to a request, whole. Any status is an answer: see [`success`](Response::success).
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// let response = http::get("https://example.com/").await?;
/// println!("{} {:?}: {}", response.status(), response.header("content-type"), response.text());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// The status, such as 200.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<bool> {
    /// # Ok(
    /// http::get("https://example.com/notes/7").await?.status() == 404
    /// # ) }
    /// ```
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response, if its status is that of success (200 to 299).
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<String> {
    /// # Ok(
    /// http::get("https://example.com/").await?.success()?.text().into_owned()
    /// # ) }
    /// ```
    pub fn success(self) -> Result<Response, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let shown: String = self.text().chars().take(200).collect();
        let message = format!("the status is {}: {shown}", self.status);
        Err(Error { kind: ErrorKind::Status(self.status), message })
    }

    /// The first header of this name.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<()> {
    /// let response = http::get("https://example.com/").await?;
    /// let elsewhere = response.header("location");
    /// # Ok(()) }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers, in order.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<()> {
    /// for (name, value) in http::get("https://example.com/").await?.headers() {
    ///     println!("{name}: {value}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<usize> {
    /// # Ok(
    /// http::get("https://example.com/picture.png").await?.bytes().len()
    /// # ) }
    /// ```
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text, with a replacement character for each part that is none.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<()> {
    /// println!("{}", http::get("https://example.com/").await?.text());
    /// # Ok(()) }
    /// ```
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    ///
    /// ```no_run
    /// # use guest_sdk::{http, prelude::*};
    /// # async fn example() -> Result<Vec<String>> {
    /// # Ok(
    /// http::get("https://example.com/names").await?.json::<Vec<String>>()?
    /// # ) }
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the body isn't the JSON that was expected: {error}");
            Error { kind: ErrorKind::Json, message }
        })
    }
}

/// Why a request has no response, or not the one that was wanted.
///
/// ```no_run
/// # use guest_sdk::{http, prelude::*};
/// # async fn example() -> Result<()> {
/// match http::get("https://example.com/").await {
///     Ok(response) => println!("{}", response.status()),
///     Err(error) if error.kind() == http::ErrorKind::HeadTimeout => println!("too slow"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// Which kind of failure this is.
    ///
    /// ```no_run
    /// # use guest_sdk::http;
    /// # fn example(error: http::Error) -> bool {
    /// error.kind() == http::ErrorKind::Status(404)
    /// # }
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kinds of failure of a request.
///
/// ```
/// use guest_sdk::http::ErrorKind;
///
/// fn again_later(kind: ErrorKind) -> bool {
///     matches!(kind, ErrorKind::NotConnected | ErrorKind::Status(500..))
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function's configuration doesn't allow it.
    Refused,
    /// The request made no sense.
    InvalidRequest,
    /// Its address led where it may not go.
    OutOfReach,
    /// The name leads nowhere.
    NotResolved,
    /// Nobody answered at the address.
    NotConnected,
    /// Connecting took too long.
    ConnectTimeout,
    /// No encryption was agreed on.
    Tls,
    /// The response didn't begin in time.
    HeadTimeout,
    /// The response didn't end in time.
    BodyTimeout,
    /// The response was larger than it may be.
    BodyTooLarge,
    /// The connection broke, or what came was no response.
    Broken,
    /// Somebody gave the request up.
    Canceled,
    /// There is a response, and its status isn't that of success.
    Status(u16),
    /// There is a response, and its body isn't the JSON that was expected.
    Json,
}

impl From<HttpFailure> for Error {
    fn from(failure: HttpFailure) -> Error {
        use host::Trouble as T;
        let kind = match failure.trouble {
            T::Refused => ErrorKind::Refused,
            T::InvalidRequest => ErrorKind::InvalidRequest,
            T::OutOfReach => ErrorKind::OutOfReach,
            T::NotResolved => ErrorKind::NotResolved,
            T::NotConnected => ErrorKind::NotConnected,
            T::ConnectTimeout => ErrorKind::ConnectTimeout,
            T::Tls => ErrorKind::Tls,
            T::HeadTimeout => ErrorKind::HeadTimeout,
            T::BodyTimeout => ErrorKind::BodyTimeout,
            T::BodyTooLarge => ErrorKind::BodyTooLarge,
            T::Broken => ErrorKind::Broken,
            T::Canceled => ErrorKind::Canceled,
        };
        Error { kind, message: failure.message }
    }
}
