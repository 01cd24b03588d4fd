//! The tables, in a schema of their own, and their version.

use tokio_postgres::Client;

use super::{Cluster, DatabaseError};

/// The version of the tables. A newer one is refused by older hosts.
const VERSION: i32 = 2;
/// Held while the tables are made, so that one node makes them: an arbitrary number, the same for all.
const LOCK: i64 = 0x6475_7261_626c_6501;

const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS durable;
    CREATE TABLE durable.version (version int4 NOT NULL);
    -- Whose it is.
    CREATE TABLE durable.cluster (id text NOT NULL, name text NOT NULL, founded_at timestamptz NOT NULL DEFAULT now());
    -- Who takes part. A node whose lease is over counts as dead. Each says which others don't answer it.
    CREATE TABLE durable.node (
        id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        address text NOT NULL,
        certificate bytea NOT NULL,
        version text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        lease_until timestamptz NOT NULL,
        leaving bool NOT NULL DEFAULT false,
        unreached int8[] NOT NULL DEFAULT '{}',
        workers int4 NOT NULL
    ) WITH (fillfactor = 20);
    -- Who may append to which log, and where. The epoch is raised with each new owner, and fences off the one before.
    CREATE TABLE durable.partition (
        id int2 PRIMARY KEY,
        lease_epoch int8 NOT NULL DEFAULT 0,
        next_seq int8 NOT NULL DEFAULT 1,
        hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
        owner int8,
        taken_at timestamptz,
        snapshot int8 NOT NULL DEFAULT 0,
        snapshot_epoch int8 NOT NULL DEFAULT 0
    ) WITH (fillfactor = 20);
    INSERT INTO durable.partition (id) SELECT generate_series(0, 63);
    -- Groups of records by the number of the first. Each has the hash of all before it.
    CREATE TABLE durable.log (
        partition int2 NOT NULL,
        first int8 NOT NULL,
        count int8 NOT NULL,
        lease_epoch int8 NOT NULL,
        previous_hash bytea NOT NULL,
        bytes bytea NOT NULL,
        PRIMARY KEY (partition, first)
    );
    -- A partition's store, whole up to a record, in pieces. The one that counts is named by the partition's row.
    CREATE TABLE durable.snapshot (
        partition int2 NOT NULL,
        applied int8 NOT NULL,
        lease_epoch int8 NOT NULL,
        piece int4 NOT NULL,
        bytes bytea NOT NULL,
        PRIMARY KEY (partition, applied, lease_epoch, piece)
    );
    -- Components, and the values of variables, by digest.
    CREATE TABLE durable.blob (digest bytea PRIMARY KEY, bytes bytea NOT NULL);";

pub(super) async fn prepare(client: &mut Client, name: &str, may_be_new: bool) -> Result<Cluster, DatabaseError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let there = "SELECT to_regnamespace('durable') IS NOT NULL, to_regclass('durable.version') IS NOT NULL,
                 current_setting('transaction_read_only') = 'on'";
    let row = transaction.query_one(there, &[]).await?;
    let (schema, version, is_read_only): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if is_read_only {
        return Err(DatabaseError::Foreign("it is read-only, perhaps a standby".into()));
    }
    let of_something_else = || {
        let what = "it has a schema \"durable\" that is of something else; give the cluster a database of its own";
        DatabaseError::Foreign(what.into())
    };
    if schema && !version {
        return Err(of_something_else());
    }
    if !schema && !may_be_new {
        let what =
            "it is empty, and this node has data of a cluster: give it the database of its own, or another --data";
        return Err(DatabaseError::Foreign(what.into()));
    }
    if !schema {
        transaction.batch_execute(TABLES).await?;
        transaction.execute("INSERT INTO durable.version VALUES ($1)", &[&VERSION]).await?;
        let id = uuid::Uuid::new_v4().to_string();
        transaction.execute("INSERT INTO durable.cluster (id, name) VALUES ($1, $2)", &[&id, &name]).await?;
    }
    let rows = transaction.query("SELECT * FROM durable.version", &[]).await?;
    let found: i32 = rows.first().and_then(|row| row.try_get("version").ok()).ok_or_else(of_something_else)?;
    if found != VERSION {
        let what = format!("its tables have the version {found}, and this host knows version {VERSION}");
        return Err(DatabaseError::Foreign(what));
    }
    let is_whole = transaction.query_one("SELECT to_regclass('durable.cluster') IS NOT NULL", &[]).await?;
    if !is_whole.get::<_, bool>(0) {
        return Err(of_something_else());
    }
    let row = transaction.query_one("SELECT id, name FROM durable.cluster", &[]).await?;
    let cluster = Cluster { id: row.get(0), name: row.get(1) };
    if cluster.name != name {
        let what = format!(
            "it is that of the cluster {:?}, and this host is of {name:?}: say --cluster-name {}, or give each cluster a \
             database of its own",
            cluster.name, cluster.name
        );
        return Err(DatabaseError::Foreign(what));
    }
    transaction.commit().await?;
    Ok(cluster)
}
