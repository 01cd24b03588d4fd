//! Who takes part, and who has which partition: what the database says, asked and changed.
//!
//! A node's lease is kept by the database's clock. One that let it run out is *buried* by whoever notices first: its row
//! goes, and its partitions are free, under a raised epoch. It may compute on, but can't append; when it notices it
//! comes back under a new number, with nothing.
//!
//! After a failover the database may give a number again. So whoever says that it is a node shows its certificate as well,
//! which no other process has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use machine::PARTITIONS;
use tokio_postgres::Client;

use super::assignment::{NodeId, cut_off};
use super::peers::Peer;
use host_database::{Cluster, DatabaseError};
use host_log::End;

/// What the database said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// The nodes that live, this one included.
    pub(super) peers: HashMap<NodeId, Peer>,
    /// Those that are about to leave.
    pub(super) leaving: BTreeSet<NodeId>,
    /// Those that don't reach others, or aren't reached by them.
    pub(super) cut_off: BTreeSet<NodeId>,
    /// All others: those that partitions are for.
    pub(super) staying: Vec<NodeId>,
    /// The owner of each partition.
    pub(super) owners: Vec<Option<NodeId>>,
    /// The epoch of each partition.
    pub(super) epochs: Vec<i64>,
    /// The number of the next record of each partition.
    pub(super) next_records: Vec<u64>,
    /// When the next lease ends, if it isn't renewed.
    pub(super) next_end: Duration,
}

/// A partition that was taken.
pub(super) struct Taken {
    pub(super) partition: u8,
    pub(super) end: End,
    /// The record up to which there is a snapshot, and the epoch under which it was made.
    pub(super) snapshot: (i64, i64),
}

/// This process, as the database knows it.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) id: NodeId,
    pub(super) certificate: &'a [u8],
}

/// What a node says of itself with each renewal.
pub(super) struct State {
    pub(super) leaving: bool,
    /// The nodes that don't answer it.
    pub(super) unreached: Vec<NodeId>,
}

/// Take part in a cluster. It gives the number of the node.
pub(super) async fn register(
    client: &Client,
    cluster: &Cluster,
    peer: &Peer,
    lease: Duration,
    leaving: bool,
) -> Result<NodeId, DatabaseError> {
    let row = client
        .query_opt(
            "INSERT INTO durable.node (address, certificate, version, lease_until, workers, leaving)
             SELECT $1, $2, $3, clock_timestamp() + $4 * interval '1 second', $5, $7
             FROM durable.cluster WHERE id = $6 RETURNING id",
            &[
                &peer.address,
                &peer.certificate,
                &env!("CARGO_PKG_VERSION"),
                &lease.as_secs_f64(),
                &(peer.workers as i32),
                &cluster.id,
                &leaving,
            ],
        )
        .await?;
    let another = || DatabaseError::Foreign("it is that of another cluster now".into());
    Ok(row.ok_or_else(another)?.get(0))
}

/// Renew the lease. `false`: it had run out, and the node was buried.
pub(super) async fn renew(
    client: &Client,
    own: Own<'_>,
    lease: Duration,
    state: &State,
) -> Result<bool, DatabaseError> {
    let renew = "UPDATE durable.node SET lease_until = clock_timestamp() + $3 * interval '1 second', leaving = $4,
                     unreached = $5
                 WHERE id = $1 AND certificate = $2";
    let State { leaving, unreached } = state;
    let renewed = client.execute(renew, &[&own.id, &own.certificate, &lease.as_secs_f64(), leaving, unreached]).await?;
    Ok(renewed == 1)
}

/// Bury those whose lease has run out. How many partitions are free because of that.
pub(super) async fn bury(client: &Client) -> Result<u64, DatabaseError> {
    client.execute("DELETE FROM durable.node WHERE lease_until < clock_timestamp()", &[]).await?;
    let free = "
        WITH orphans AS (
            SELECT id FROM durable.partition p
            WHERE owner IS NOT NULL AND NOT EXISTS (SELECT FROM durable.node n WHERE n.id = p.owner)
            ORDER BY id FOR UPDATE
        )
        UPDATE durable.partition p SET owner = NULL, lease_epoch = lease_epoch + 1
        FROM orphans WHERE p.id = orphans.id
            AND NOT EXISTS (SELECT FROM durable.node n WHERE n.id = p.owner)";
    Ok(client.execute(free, &[]).await?)
}

/// Who lives, and who has what.
pub(super) async fn look(client: &Client) -> Result<Members, DatabaseError> {
    let nodes = "SELECT id, address, certificate, leaving, workers,
                     extract(epoch FROM lease_until - clock_timestamp())::float8, unreached
                 FROM durable.node WHERE lease_until > clock_timestamp() ORDER BY id";
    let partitions = "SELECT id, owner, lease_epoch, next_seq FROM durable.partition ORDER BY id";
    let (nodes, partitions) = futures::try_join!(client.query(nodes, &[]), client.query(partitions, &[]))?;
    let (owners, epochs, next_records) = (vec![None; PARTITIONS], vec![0; PARTITIONS], vec![0; PARTITIONS]);
    let mut members = Members { owners, epochs, next_records, next_end: Duration::MAX, ..Members::default() };
    let mut unreached = BTreeMap::new();
    for row in nodes {
        let (id, leaving, left): (NodeId, bool, f64) = (row.get(0), row.get(3), row.get(5));
        let workers = row.get::<_, i32>(4).max(0) as usize;
        members.peers.insert(id, Peer { address: row.get(1), certificate: row.get(2), workers });
        if leaving {
            members.leaving.insert(id);
        } else {
            unreached.insert(id, row.get(6));
        }
        members.next_end = members.next_end.min(Duration::from_secs_f64(left.max(0.0)));
    }
    members.cut_off = cut_off(&unreached);
    members.staying = unreached.into_keys().filter(|node| !members.cut_off.contains(node)).collect();
    for row in partitions {
        let id: i16 = row.get(0);
        members.owners[id as usize] = row.get(1);
        members.epochs[id as usize] = row.get(2);
        members.next_records[id as usize] = row.get::<_, i64>(3) as u64;
    }
    Ok(members)
}

/// Take those of these partitions that nobody has.
pub(super) async fn take(client: &Client, own: Own<'_>, partitions: &[u8]) -> Result<Vec<Taken>, DatabaseError> {
    let wanted: Vec<i16> = partitions.iter().map(|partition| i16::from(*partition)).collect();
    let take = "
        WITH free AS (
            SELECT id FROM durable.partition WHERE id = ANY ($3) AND owner IS NULL ORDER BY id FOR UPDATE
        )
        UPDATE durable.partition p SET owner = $1, lease_epoch = lease_epoch + 1, taken_at = clock_timestamp()
        FROM free WHERE p.id = free.id AND p.owner IS NULL
            AND EXISTS (SELECT FROM durable.node n WHERE n.id = $1 AND n.certificate = $2)
        RETURNING lease_epoch, next_seq, hash, p.id, snapshot, snapshot_epoch";
    let rows = client.query(take, &[&own.id, &own.certificate, &wanted]).await?;
    rows.iter()
        .map(|row| {
            let id: i16 = row.get(3);
            Ok(Taken { partition: id as u8, end: End::of(row)?, snapshot: (row.get(4), row.get(5)) })
        })
        .collect()
}

/// Let a partition go that a node has under this epoch, for whoever takes it. If it has it under another one by now, this
/// was too late, and nothing happens.
pub(super) async fn give(client: &Client, node: NodeId, partition: u8, epoch: i64) -> Result<(), DatabaseError> {
    let give = "UPDATE durable.partition SET owner = NULL WHERE id = $1 AND owner = $2 AND lease_epoch = $3";
    client.execute(give, &[&i16::from(partition), &node, &epoch]).await?;
    Ok(())
}

/// Take part no longer.
pub(super) async fn leave(client: &Client, own: Own<'_>) -> Result<(), DatabaseError> {
    let leave = "DELETE FROM durable.node WHERE id = $1 AND certificate = $2";
    client.execute(leave, &[&own.id, &own.certificate]).await?;
    Ok(())
}
