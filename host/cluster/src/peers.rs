//! How nodes talk to each other: HTTP/2 over TLS, one connection for each peer.
//!
//! A node makes a key and a certificate when it starts, and writes the certificate into the database beside its address.
//! Both sides of a connection accept exactly the certificates that stand there: whoever may write to the database is a
//! node, and nobody else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::{Mutex, RwLock};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::assignment::NodeId;

/// How long connecting to a peer may take.
const CONNECT: Duration = Duration::from_secs(2);
/// A peer that doesn't answer a ping for so long is gone.
const PING: Duration = Duration::from_secs(1);
/// Requests that a peer may have under way here at a time: each invocation that waits is one.
const STREAMS: u32 = 100_000;

/// A node, as others find it in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) certificate: Vec<u8>,
    /// Guests that it can run at a time.
    pub(super) workers: usize,
}

/// What this node shows to others.
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// The other nodes, and connections to them.
pub(super) struct Peers {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    /// Where connections live: whoever asks may have a runtime of its own, and little time.
    tokio: Handle,
    known: Arc<RwLock<HashMap<NodeId, Peer>>>,
    connections: Arc<Mutex<HashMap<NodeId, SendRequest<Full<Bytes>>>>>,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("node {0} isn't known")]
    Unknown(NodeId),
    #[error("the node at {0} doesn't answer")]
    Silent(String),
    #[error("the node at {0} can't be reached: {1}")]
    Io(String, std::io::Error),
    #[error("the connection to the node at {0} broke: {1}")]
    Http(String, hyper::Error),
}

impl Identity {
    pub(super) fn new() -> Result<Identity, rcgen::Error> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Identity { certificate: made.cert.der().clone(), key })
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// Certificates are compared whole, so the name in them says nothing.
const NAME: &str = "node";

impl Peers {
    pub(super) fn new(identity: Identity, tokio: Handle) -> Peers {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Peers { identity, provider, tokio, known: Arc::default(), connections: Arc::default() }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// These are the nodes that live.
    pub(super) fn know(&self, peers: HashMap<NodeId, Peer>) {
        self.connections.lock().retain(|node, _| peers.contains_key(node));
        *self.known.write() = peers;
    }

    /// Ask a peer, and wait for the head of its answer.
    pub(super) async fn send(
        &self,
        node: NodeId,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, PeerError> {
        let peer = self.known.read().get(&node).cloned().ok_or(PeerError::Unknown(node))?;
        let mut connection = self.connection(node, &peer).await?;
        connection.send_request(request).await.map_err(|error| {
            self.connections.lock().remove(&node);
            PeerError::Http(peer.address, error)
        })
    }

    async fn connection(&self, node: NodeId, peer: &Peer) -> Result<SendRequest<Full<Bytes>>, PeerError> {
        if let Some(connection) = self.connections.lock().get(&node)
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let silent = PeerError::Silent(peer.address.clone());
        let (connect, connections) = (connect(peer.clone(), self.config(peer)), self.connections.clone());
        let connecting = self.tokio.spawn(async move {
            let connection = tokio::time::timeout(CONNECT, connect).await.map_err(|_| silent)??;
            // For whoever asks next as well, if this one has no patience left.
            connections.lock().insert(node, connection.clone());
            Ok(connection)
        });
        connecting.await.map_err(|_| PeerError::Silent(peer.address.clone()))?
    }

    /// How to talk to a peer, and to nobody else.
    fn config(&self, peer: &Peer) -> rustls::ClientConfig {
        let pin = Pin { expected: Some(peer.certificate.clone()), ..self.pin() };
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pin))
            .with_client_auth_cert(vec![self.identity.certificate.clone()], self.key())
            .expect("the key was made for the certificate");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.identity.key.clone_key())
    }

    fn pin(&self) -> Pin {
        let algorithms = self.provider.signature_verification_algorithms;
        Pin { expected: None, known: self.known.clone(), algorithms }
    }

    /// Answer peers, until the node ends.
    pub(super) async fn serve<F, A>(&self, listener: TcpListener, answer: F)
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for the default versions")
            .with_client_cert_verifier(Arc::new(self.pin()))
            .with_single_cert(vec![self.identity.certificate.clone()], self.key())
            .expect("the key was made for the certificate");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("a node's connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                if let Err(error) = serve_peer(stream, from, acceptor, answer).await {
                    tracing::debug!("a node's connection from {from} ended: {error}");
                }
            });
        }
    }
}

async fn connect(peer: Peer, config: rustls::ClientConfig) -> Result<SendRequest<Full<Bytes>>, PeerError> {
    let io = |error| PeerError::Io(peer.address.clone(), error);
    let stream = TcpStream::connect(&peer.address).await.map_err(io)?;
    let _ = stream.set_nodelay(true);
    let name = ServerName::try_from(NAME).expect("it is a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(io)?;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(2 * PING);
    builder.adaptive_window(true);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| PeerError::Http(peer.address, error))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn serve_peer<F, A>(stream: TcpStream, _from: SocketAddr, acceptor: TlsAcceptor, answer: F) -> anyhow::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let stream = tokio::time::timeout(CONNECT, acceptor.accept(stream)).await??;
    let service = hyper::service::service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).adaptive_window(true);
    builder.keep_alive_interval(Some(PING)).keep_alive_timeout(2 * PING);
    builder.serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// Accepts the certificates that stand in the database, and no others.
#[derive(Debug)]
struct Pin {
    /// For the node that is meant; none: for any.
    expected: Option<Vec<u8>>,
    known: Arc<RwLock<HashMap<NodeId, Peer>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pin {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let is_known = match &self.expected {
            Some(expected) => *expected == **certificate,
            None => self.known.read().values().any(|peer| peer.certificate == **certificate),
        };
        match is_known {
            true => Ok(()),
            false => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SERVER: NodeId = 1;
    const FRIEND: NodeId = 2;

    fn peers() -> Arc<Peers> {
        Arc::new(Peers::new(Identity::new().unwrap(), Handle::current()))
    }

    fn peer(address: &str, of: &Peers) -> Peer {
        Peer { address: address.into(), certificate: of.identity().certificate().to_vec(), workers: 1 }
    }

    async fn ask(peers: &Peers) -> Result<u16, PeerError> {
        let request = Request::get("http://node/").body(Full::default()).unwrap();
        Ok(peers.send(SERVER, request).await?.status().as_u16())
    }

    #[tokio::test]
    async fn nobody_talks_to_anybody_whose_certificate_is_not_in_the_database() {
        let (server, friend, stranger, deceived) = (peers(), peers(), peers(), peers());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        server.know(HashMap::from([(FRIEND, peer("", &friend)), (3, peer("", &deceived))]));
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener, async |_| Response::new(Body::empty())).await });
        for asking in [&friend, &stranger] {
            asking.know(HashMap::from([(SERVER, peer(&address, &server))]));
        }
        // What is at the address isn't the node that the database means.
        deceived.know(HashMap::from([(SERVER, peer(&address, &friend))]));
        assert_eq!(ask(&friend).await.unwrap(), 200);
        assert!(ask(&stranger).await.is_err());
        assert!(ask(&deceived).await.is_err());
        // Nor to anybody in the open.
        let mut open = TcpStream::connect(&address).await.unwrap();
        open.write_all(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = open.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
        // A node that is known no longer is a stranger.
        server.know(HashMap::new());
        friend.know(HashMap::new());
        friend.know(HashMap::from([(SERVER, peer(&address, &server))]));
        assert!(ask(&friend).await.is_err());
    }
}
