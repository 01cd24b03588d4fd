//! Requests to other systems: HTTP/1.1, with TLS where the address says `https`.
//!
//! [`Client::send`] sends one request and reads the whole answer. It decides nothing about whether or when something may
//! be sent, and tries nothing again: whoever records the request does. It doesn't follow redirects, because where they
//! lead has not been allowed, and it knows no proxy and no cookies.
//!
//! Where a name leads is checked on the very addresses that are then connected to, so that a name can't lead elsewhere
//! between the check and the connection. A connection is used again only by requests that may reach as far.

mod resolve;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use machine::Reach;
use rustls::{ClientConfig, RootCertStore};

use resolve::{ResolveError, Resolver};

/// How long it may take to resolve a name, connect and agree on encryption.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nothing is sent on.
const IDLE: Duration = Duration::from_secs(60);
/// How many of them are kept for one address.
const IDLE_PER_ADDRESS: usize = 64;

/// Sends requests. Clones share connections. Use it within a runtime of tokio.
#[derive(Clone, Default)]
pub struct Client(Arc<Pools>);

/// Connections, kept apart by how far they may reach. Each is made when it is first needed.
#[derive(Default)]
struct Pools {
    tls: OnceLock<Arc<ClientConfig>>,
    pools: [OnceLock<Pool>; 3],
}

type Pool = HttpClient<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// What bounds one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Where its address may lead.
    pub reach: Reach,
    /// From its start to the head of the answer.
    pub head_timeout: Duration,
    /// Between two pieces of the answer's body.
    pub body_timeout: Duration,
    /// From its start to the end of the answer.
    pub total_timeout: Duration,
    /// The body of the answer.
    pub body_bytes: usize,
}

impl Default for Bounds {
    /// The public internet; a minute for the head, half of one between pieces, ten in all; 1 MiB.
    fn default() -> Bounds {
        Bounds {
            reach: Reach::Public,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(600),
            body_bytes: 1 << 20,
        }
    }
}

/// Why there is no answer. Unless it says that nothing was sent, the other side may have got the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request makes no sense: no address, or not of HTTP. Nothing was sent.
    #[error("the request can't be sent: {0}")]
    Request(String),
    /// The address, or all that its name leads to, is nearer than the request may reach. Nothing was sent.
    #[error("{host} leads to {address}, which is not an address that this request may reach ({reach:?})")]
    OutOfReach {
        /// As in the request's address.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// How far the request may go.
        reach: Reach,
    },
    /// The name leads nowhere. Nothing was sent.
    #[error("the name can't be resolved: {0}")]
    Resolve(String),
    /// Nobody listens there, or nobody can be reached. Nothing was sent.
    #[error("no connection can be made: {0}")]
    Connect(String),
    /// It took too long to connect. Nothing was sent.
    #[error("no connection was made within {0:?}")]
    ConnectTimeout(Duration),
    /// The two sides don't agree on encryption, or the other one isn't who it should be. Nothing was sent.
    #[error("no secure connection can be made: {0}")]
    Tls(String),
    /// The head of the answer didn't come in time.
    #[error("no answer came within {0:?}")]
    HeadTimeout(Duration),
    /// The answer began, and didn't end in time.
    #[error("the answer was not complete within {0:?}")]
    BodyTimeout(Duration),
    /// The body of the answer is too large.
    #[error("the answer has more than {limit} bytes")]
    BodyTooLarge {
        /// How large it may be.
        limit: usize,
    },
    /// The connection broke, or the other side didn't speak HTTP.
    #[error("the answer could not be read: {0}")]
    Broken(String),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Sends a request, with its whole address, and reads the whole answer.
    pub async fn send(&self, request: Request<Bytes>, bounds: &Bounds) -> Result<Response<Bytes>, Error> {
        check(&request, bounds.reach)?;
        let exchange = async {
            let sent = self.pool(bounds.reach).request(request.map(Full::new));
            let response = match tokio::time::timeout(bounds.head_timeout, sent).await {
                Ok(response) => response.map_err(|error| explain(&error))?,
                Err(_) => return Err(Error::HeadTimeout(bounds.head_timeout)),
            };
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, read(body, bounds).await?))
        };
        match tokio::time::timeout(bounds.total_timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::BodyTimeout(bounds.total_timeout)),
        }
    }

    fn pool(&self, reach: Reach) -> &Pool {
        let Pools { tls, pools } = &*self.0;
        pools[reach as usize].get_or_init(|| {
            let mut http = HttpConnector::new_with_resolver(Resolver { reach });
            http.enforce_http(false);
            http.set_nodelay(true);
            http.set_connect_timeout(Some(CONNECT));
            let tls = tls.get_or_init(|| Arc::new(trusted())).as_ref().clone();
            let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
            HttpClient::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_PER_ADDRESS)
                .build(https.wrap_connector(http))
        })
    }
}

/// Whom to trust: the authorities that this machine trusts, or those in the file that SSL_CERT_FILE names.
fn trusted() -> ClientConfig {
    let builder = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.expect("the provider has the default versions of TLS")
    };
    match builder().with_native_roots() {
        Ok(trusted) => trusted.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(
                "this machine has no certificates of authorities, so https requests will fail; SSL_CERT_FILE names a \
                 file of some: {error}"
            );
            builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    }
}

/// What can be known of a request before anything is sent. The resolver isn't asked about addresses in numbers.
fn check(request: &Request<Bytes>, reach: Reach) -> Result<(), Error> {
    let uri = request.uri();
    let is_http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let Some(host) = uri.authority().map(Authority::host).filter(|host| is_http && !host.is_empty()) else {
        return Err(Error::Request(format!("{uri} is not an address that begins with http:// or https://")));
    };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if !reach.allows(address) => Err(Error::OutOfReach { host: host.into(), address, reach }),
        _ => Ok(()),
    }
}

async fn read(mut body: Incoming, bounds: &Bounds) -> Result<Bytes, Error> {
    let limit = bounds.body_bytes;
    let mut read = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(bounds.body_timeout, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Error::Broken(root(&error))),
            Ok(None) => return Ok(read.freeze()),
            Err(_) => return Err(Error::BodyTimeout(bounds.body_timeout)),
        };
        let Ok(piece) = frame.into_data() else { continue };
        if read.len() + piece.len() > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        read.extend_from_slice(&piece);
    }
}

/// What an error of the layers below means. It is a chain, and the first link that is known says.
fn explain(error: &HttpError) -> Error {
    let is_connect = error.is_connect();
    for cause in chain(error) {
        if let Some(error) = cause.downcast_ref::<ResolveError>() {
            return error.clone().into();
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Error::Tls(error.to_string());
        }
        if is_connect && cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            return Error::ConnectTimeout(CONNECT);
        }
    }
    if is_connect { Error::Connect(root(error)) } else { Error::Broken(root(error)) }
}

/// An error and what caused it, link by link. An error of `io` hides what it was made of from `source`.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn root(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map_or_else(String::new, |error| error.to_string())
}

#[cfg(test)]
mod tests;
