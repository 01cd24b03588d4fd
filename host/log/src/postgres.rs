//! PostgreSQL as what the logs of a cluster are kept in: used as a fenced log, and nothing more.
//!
//! A partition has one row that says who may append, where, and to what; an append moves it and adds a row to `log`, in
//! one statement, for all partitions of a node that have something. Whoever lost a partition finds its row moved or its
//! lease epoch raised, and appends nothing. A database that was rolled back may also give an epoch or the number of a node
//! again: so the row has to name the node as well, and the node's own row has to have the certificate of this process.

use std::time::Duration;

use super::{Append, End, Ledger};
use host_database::{Database, DatabaseError};

/// How long a statement may take before its outcome counts as unknown.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to find out what became of an append.
const RETRY: Duration = Duration::from_millis(200);

const APPEND: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[], $7::bytea[],
            $8::int8[]) AS w(id, epoch, first, count, previous, hash, bytes, owner)
    ), locked AS MATERIALIZED (
        SELECT p.id FROM durable.partition p JOIN wanted w USING (id) ORDER BY p.id FOR UPDATE OF p
    ), moved AS (
        UPDATE durable.partition p SET next_seq = w.first + w.count, hash = w.hash
        FROM wanted w, locked l
        WHERE p.id = w.id AND l.id = w.id AND p.lease_epoch = w.epoch AND p.next_seq = w.first AND p.hash = w.previous
            AND p.owner = w.owner AND EXISTS (SELECT FROM durable.node n WHERE n.id = w.owner AND n.certificate = $9)
        RETURNING p.id
    )
    INSERT INTO durable.log (partition, first, count, lease_epoch, previous_hash, bytes)
    SELECT w.id, w.first, w.count, w.epoch, w.previous, w.bytes FROM wanted w JOIN moved USING (id)
    RETURNING partition";

/// What a node appends through.
pub struct PostgresLedger {
    database: Database,
    certificate: Vec<u8>,
    open: Option<Open>,
}

/// A connection that is open, with the statement that it is for.
struct Open {
    client: tokio_postgres::Client,
    append: tokio_postgres::Statement,
}

impl PostgresLedger {
    /// For a node that shows this certificate.
    pub fn new(database: Database, certificate: Vec<u8>) -> PostgresLedger {
        PostgresLedger { database, certificate, open: None }
    }

    /// Open the connection if it isn't.
    async fn open(&mut self) -> Result<(&Open, &[u8]), DatabaseError> {
        if self.open.as_ref().is_none_or(|open| open.client.is_closed()) {
            let client = self.database.connect("append").await?;
            let append = client.prepare(APPEND).await?;
            self.open = Some(Open { client, append });
        }
        Ok((self.open.as_ref().expect("it was opened above"), &self.certificate))
    }

    async fn ask_append(&mut self, batch: &[Append]) -> Result<Vec<u8>, DatabaseError> {
        let (open, certificate) = self.open().await?;
        let ids: Vec<i16> = batch.iter().map(|a| i16::from(a.partition)).collect();
        let epochs: Vec<i64> = batch.iter().map(|a| a.end.epoch).collect();
        let firsts: Vec<i64> = batch.iter().map(|a| a.group.first as i64).collect();
        let counts: Vec<i64> = batch.iter().map(|a| a.group.count as i64).collect();
        let previous: Vec<&[u8]> = batch.iter().map(|a| a.end.hash.as_slice()).collect();
        let hashes: Vec<&[u8]> = batch.iter().map(|a| a.hash.as_slice()).collect();
        let bytes: Vec<&[u8]> = batch.iter().map(|a| a.group.bytes.as_slice()).collect();
        let owners: Vec<i64> = batch.iter().map(|a| a.node).collect();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
            [&ids, &epochs, &firsts, &counts, &previous, &hashes, &bytes, &owners, &certificate];
        let rows = open.client.query(&open.append, &parameters).await?;
        Ok(rows.iter().map(|row| row.get::<_, i16>(0) as u8).collect())
    }

    /// What is ours by number and certificate is ours, whatever answer was lost before: no other process has both.
    async fn ask_look(&mut self, append: &Append) -> Result<Option<End>, DatabaseError> {
        let (open, certificate) = self.open().await?;
        let row = open
            .client
            .query_opt(
                "UPDATE durable.partition SET lease_epoch = lease_epoch + 1 WHERE id = $1 AND owner = $2
                     AND EXISTS (SELECT FROM durable.node n WHERE n.id = $2 AND n.certificate = $3)
                 RETURNING lease_epoch, next_seq, hash",
                &[&i16::from(append.partition), &append.node, &certificate],
            )
            .await?;
        row.map(|row| End::of(&row)).transpose()
    }

    /// After a failure another connection is opened.
    fn keep_or_close<T>(&mut self, answer: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if answer.is_err() {
            self.open = None;
        }
        answer
    }
}

impl Ledger for PostgresLedger {
    type Error = DatabaseError;

    async fn append(&mut self, batch: &[Append]) -> Result<Vec<u8>, DatabaseError> {
        let database = self.database.clone();
        let answer = database.within(PATIENCE, self.ask_append(batch)).await;
        self.keep_or_close(answer)
    }

    async fn look(&mut self, append: &Append) -> Result<Option<End>, DatabaseError> {
        let database = self.database.clone();
        let answer = database.within(PATIENCE, self.ask_look(append)).await;
        self.keep_or_close(answer)
    }

    async fn pause(&mut self) {
        tokio::time::sleep(RETRY).await;
    }
}

impl End {
    /// Of a row of the partition's `lease_epoch, next_seq, hash`.
    pub fn of(row: &tokio_postgres::Row) -> Result<End, DatabaseError> {
        let hash: Vec<u8> = row.try_get(2)?;
        let hash = hash.try_into().map_err(|_| DatabaseError::Foreign("a partition has no hash".into()))?;
        Ok(End { epoch: row.try_get(0)?, next: row.try_get::<_, i64>(1)? as u64, hash })
    }
}
