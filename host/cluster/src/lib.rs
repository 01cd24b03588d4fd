//! Many nodes, one host.
//!
//! A node owns some of the [`PARTITIONS`](machine::PARTITIONS) that divide all ids. Each is a
//! [`Partition`](host_partition::Partition) like that of an embedded host, over a store file that can be thrown away and
//! a log in PostgreSQL that can't. Nothing in it knows of the others, but for the mail that it has for them.
//!
//! - `archive`: components and values, in the database
//! - `assignment`: which node is to have which partition; pure
//! - `members`: who lives and who has what, in the database
//! - `node`: one node: its lease, taking partitions and giving them away
//! - `snapshots`: what a new owner begins with
//! - `peers`: talking to other nodes; `reach`: which of them answer
//! - `directory`: what a node keeps on disk, and of which cluster it is
//! - `guests`: running functions where the cores are; `lodgers`: those of others that are here; pure
//! - `carrier`: carrying mail between partitions
//! - `front`: taking any request, and having it answered where its id is; `lists` and `everywhere`: what is of all
//!   partitions; `envelopes`: requests of the promise protocol; `letters`: its messages
//! - `status`: what a node says of itself and of the cluster
//! - `migrate`: what one host had
//!
//! Two things keep it right, and only they: an append succeeds under the latest lease epoch alone, and a node answers
//! only while its lease lasts. All else (who is to have what, who is believed to live) decides how fast it is.

mod archive;
mod assignment;
mod carrier;
mod directory;
mod envelopes;
mod everywhere;
mod front;
mod guests;
mod letters;
mod lists;
mod lodgers;
mod members;
mod migrate;
mod node;
mod peers;
mod reach;
mod snapshots;
mod status;

use std::time::Duration;

pub use directory::cluster_of;
#[doc(hidden)]
pub use lodgers::{Key, Lodgers};
pub use migrate::{Migrated, migrate};
pub use node::Node;

use host_api as api;
use host_partition as partition;

/// How a node is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the database is.
    pub database: String,
    /// What the cluster is called: a database of another one is refused.
    pub name: String,
    /// Where other nodes reach this one.
    pub advertise: String,
    /// How long a node that says nothing counts as alive.
    pub lease: Duration,
    /// How its partitions are run, all together.
    pub partition: partition::Options,
    /// For the API of each of them.
    pub api: api::Options,
}

/// For how long after it was asked for a node answers under a lease. Others can't take anything until it is over, by the
/// database's clock, which may run a little faster than the node's.
pub(crate) fn answer_time(lease: Duration) -> Duration {
    lease.mul_f64(0.8)
}

/// The same, for a simulation.
#[doc(hidden)]
pub fn answers_for(lease: Duration) -> Duration {
    answer_time(lease)
}

/// What a node is to take and to give, for a simulation: see `assignment`.
#[doc(hidden)]
pub fn plan_of(own: i64, nodes: &[i64], owners: &[Option<i64>]) -> (Vec<u8>, Vec<u8>) {
    let assignment::Plan { take, give } = assignment::plan(own, nodes, owners);
    (take, give)
}
