//! The database of a cluster: how it is reached, and what is in it.
//!
//! It knows nothing of what is done with its tables. Nothing here retries: whoever asks decides what a failure means.

mod schema;
mod servers;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long connecting may take, and how long a connection that says nothing is believed in.
const CONNECT: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(5);
/// How long a statement may take that nobody's lease depends on.
pub const LONG: Duration = Duration::from_secs(30);

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It isn't one that can be asked for.
    #[error("the URL of the database is wrong: {0}")]
    Url(String),
    /// It can't be reached, or doesn't do as asked.
    #[error("{}", explain(.0))]
    Postgres(tokio_postgres::Error),
    /// It didn't answer in time.
    #[error("the database doesn't answer")]
    Silent,
    /// What is in it isn't ours, or of another version.
    #[error("the database can't be used: {0}")]
    Foreign(String),
}

/// Not as a source: what is said of it has its words already.
impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> DatabaseError {
        DatabaseError::Postgres(error)
    }
}

impl DatabaseError {
    /// The server is one of several, and takes nothing that is written: what another one says matters more.
    fn is_of_standby(&self) -> bool {
        let DatabaseError::Postgres(error) = self else { return false };
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        source.is_some_and(|source| source.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

/// PostgreSQL's own words, which the library keeps in the source of its errors.
fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(why) = tls::refusal(error) {
        return format!("the database can't be reached: {why}");
    }
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(said), _) => match said.detail() {
            Some(detail) => format!("the database refused: {} ({detail})", said.message()),
            None => format!("the database refused: {}", said.message()),
        },
        (None, Some(source)) => format!("the database can't be reached: {error}: {source}"),
        (None, None) => format!("the database can't be reached: {error}"),
    }
}

/// Whose a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Made up when its tables were made: no other database has it.
    pub id: String,
    /// What its operators call it.
    pub name: String,
}

impl std::fmt::Display for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({})", self.name, self.id)
    }
}

/// Where the database is. Clones are the same.
#[derive(Clone)]
pub struct Database {
    servers: Arc<[Config]>,
    /// The one to begin with: that which was connected to last, or the one after that which failed.
    last: Arc<AtomicUsize>,
    tls: MakeRustlsConnect,
}

impl Database {
    /// From a URL: `postgres://user:password@host:port/name?sslmode=verify-full&sslrootcert=ca.pem`. Where the connection is
    /// encrypted, the server's certificate has to be of an authority in the file that `sslrootcert` names; or of one that
    /// this machine trusts, or that stands in the file that `SSL_CERT_FILE` names. Of several servers, as in
    /// `postgres://one:5432,other:5432/name`, it is on that which takes what is written.
    pub fn new(url: &str) -> Result<Database, DatabaseError> {
        let (url, authorities) = tls::read(url)?;
        let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let why = std::error::Error::source(&error).map_or(error.to_string(), |source| source.to_string());
            DatabaseError::Url(why)
        })?;
        let mut servers = servers::of(&config)?;
        for server in &mut servers {
            server.connect_timeout(CONNECT).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE).application_name("host");
        }
        let tls = MakeRustlsConnect::new(tls::config(authorities.as_deref())?);
        Ok(Database { servers: servers.into(), last: Arc::default(), tls })
    }

    /// A connection of its own. It ends when the client is dropped.
    pub async fn connect(&self, purpose: &str) -> Result<Client, DatabaseError> {
        let (first, count) = (self.last.load(Ordering::Relaxed), self.servers.len());
        let mut failed = DatabaseError::Silent;
        for n in (0..count).map(|n| (first + n) % count) {
            // One that hangs leaves time for the others.
            let connecting = tokio::time::timeout(CONNECT / count as u32, self.connect_to(n, purpose));
            match connecting.await.unwrap_or(Err(DatabaseError::Silent)) {
                Ok(client) => {
                    self.last.store(n, Ordering::Relaxed);
                    return Ok(client);
                }
                Err(error) => {
                    self.last.store((n + 1) % count, Ordering::Relaxed);
                    if matches!(failed, DatabaseError::Silent) || failed.is_of_standby() {
                        failed = error;
                    }
                }
            }
        }
        Err(failed)
    }

    /// What comes of something that is asked of a server, if it comes in time. If it doesn't, or fails, another server is
    /// connected to next, if there is one: one that takes connections may do nothing else.
    pub async fn within<T, E: Into<DatabaseError>>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, DatabaseError> {
        let answer = tokio::time::timeout(limit, asked).await;
        let answer = answer.map_or(Err(DatabaseError::Silent), |answer| answer.map_err(Into::into));
        if answer.is_err() {
            let next = |last| (last + 1) % self.servers.len();
            self.last.update(Ordering::Relaxed, Ordering::Relaxed, next);
        }
        answer
    }

    async fn connect_to(&self, server: usize, purpose: &str) -> Result<Client, DatabaseError> {
        let (client, connection) = self.servers[server].connect(self.tls.clone()).await?;
        tokio::spawn(connection);
        let purpose = purpose.replace('\'', "");
        // A commit that isn't on disk is none, whatever the server's default is.
        let set = format!("SET application_name = 'host {purpose}'; SET synchronous_commit = on");
        client.batch_execute(&set).await?;
        Ok(client)
    }

    /// See that there are the tables of a cluster of this name, and of this version. If there are none they are made, where
    /// this may be a new cluster.
    pub async fn prepare(&self, name: &str, may_be_new: bool) -> Result<Cluster, DatabaseError> {
        let mut client = self.connect("setup").await?;
        self.within(LONG, schema::prepare(&mut client, name, may_be_new)).await
    }
}
