//! Names to addresses, without those that are out of reach.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::Name;
use machine::Reach;
use tower_service::Service;

use super::{CONNECT, Error};

/// The machine's resolver, and how far its answers may lead.
#[derive(Clone)]
pub(super) struct Resolver {
    pub(super) reach: Reach,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{host}: {reason}")]
    Unknown { host: String, reason: String },
    #[error("{host} leads to {address}, which is out of reach")]
    OutOfReach { host: String, address: IpAddr, reach: Reach },
}

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Error {
        match error {
            ResolveError::Unknown { .. } => Error::Resolve(error.to_string()),
            ResolveError::OutOfReach { host, address, reach } => Error::OutOfReach { host, address, reach },
        }
    }
}

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<IntoIter<SocketAddr>, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let unknown = |reason: String| ResolveError::Unknown { host: host.clone(), reason };
            let found = match tokio::time::timeout(CONNECT, tokio::net::lookup_host((name.as_str(), 0))).await {
                Ok(found) => found.map_err(|error| unknown(error.to_string()))?,
                Err(_) => return Err(unknown(format!("no answer within {} s", CONNECT.as_secs()))),
            };
            let (reachable, others): (Vec<_>, Vec<_>) = found.partition(|address| reach.allows(address.ip()));
            match (reachable.is_empty(), others.first()) {
                (true, Some(other)) => Err(ResolveError::OutOfReach { host, address: other.ip(), reach }),
                (true, None) => Err(unknown("it has no address".into())),
                (false, _) => Ok(reachable.into_iter()),
            }
        })
    }
}
