//! Components and values of the cluster, in its database.
//!
//! Whoever needs one waits for it without a runtime, so a thread of its own fetches it with its own.

use std::io;
use std::sync::mpsc;

use machine::Digest;
use parking_lot::Mutex;

use host_database::{Database, DatabaseError, LONG};
use host_store::Archive;

pub(super) struct DatabaseArchive {
    asked: Mutex<mpsc::Sender<Asked>>,
}

/// A file to keep, or to fetch, and where its answer goes.
struct Asked {
    digest: Digest,
    keep: Option<Vec<u8>>,
    answer: mpsc::Sender<Result<Option<Vec<u8>>, DatabaseError>>,
}

impl DatabaseArchive {
    /// Its thread ends with it.
    pub(super) fn start(database: Database) -> io::Result<DatabaseArchive> {
        let (asked, asks) = mpsc::channel::<Asked>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            for Asked { digest, keep, answer } in asks {
                // Whoever asked may be gone.
                let _ = answer.send(runtime.block_on(exchange(&database, &digest, keep)));
            }
        };
        std::thread::Builder::new().name("archive".into()).spawn(run)?;
        Ok(DatabaseArchive { asked: Mutex::new(asked) })
    }

    fn ask(&self, digest: &Digest, keep: Option<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
        let (answer, answered) = mpsc::channel();
        let gone = |_| io::Error::other("the thread that reads from the database is gone");
        self.asked.lock().send(Asked { digest: *digest, keep, answer }).map_err(|_| gone(()))?;
        answered.recv().map_err(|_| gone(()))?.map_err(|error| io::Error::new(io::ErrorKind::ResourceBusy, error))
    }
}

async fn exchange(
    database: &Database,
    digest: &Digest,
    keep: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let client = database.connect("archive").await?;
    let digest = digest.0.as_slice();
    match keep {
        Some(bytes) => {
            let insert = "INSERT INTO durable.blob VALUES ($1, $2) ON CONFLICT DO NOTHING";
            database.within(LONG, client.execute(insert, &[&digest, &bytes])).await?;
            Ok(None)
        }
        None => {
            let select = "SELECT bytes FROM durable.blob WHERE digest = $1";
            let row = database.within(LONG, client.query_opt(select, &[&digest])).await?;
            Ok(row.map(|row| row.get(0)))
        }
    }
}

impl Archive for DatabaseArchive {
    fn save(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.ask(digest, Some(bytes.to_vec())).map(drop)
    }

    fn load(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the database has no {digest}"));
        self.ask(digest, None)?.ok_or_else(missing)
    }
}
