//! `host nodes` and `host partitions`: who takes part in a cluster, and who has what.

use clap::Args;
use serde::Deserialize;

use super::client::Answer;
use super::documents::Items;
use super::failure::Failure;
use super::screen::{Cell, Table, safe};
use super::{Context, Ending};

/// List the nodes of the cluster that live
#[derive(Args)]
#[command(after_help = "Example:\n  host nodes")]
pub(super) struct Nodes {}

/// Show which node has which partitions of the cluster
#[derive(Args)]
#[command(after_help = "Example:\n  host partitions")]
pub(super) struct Partitions {}

/// A node, as the host tells of it.
#[derive(Deserialize)]
struct Node {
    id: i64,
    address: String,
    partitions: u64,
    leaving: bool,
    cut_off: bool,
    answering: bool,
}

/// Where a partition is.
#[derive(Deserialize)]
struct Partition {
    partition: u8,
    node: Option<i64>,
    address: Option<String>,
}

/// A host that isn't part of a cluster knows nothing of either.
fn of_a_cluster(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { status, code, retry_after, .. } if code == "no_such_path" => {
            let message = "this is a single host: `host serve --cluster` starts a node of a cluster".into();
            Failure::Refused { status, code, message, retry_after }
        }
        failure => failure,
    }
}

impl Nodes {
    pub(super) fn run(self, Context { client, screen }: &Context) -> Result<Ending, Failure> {
        let Answer { text, document } = client.get::<Items<Node>>("/v1/nodes", &[]).map_err(of_a_cluster)?;
        screen.show(&text, || {
            let mut table = Table::new(screen.out, &["NODE", "ADDRESS", "PARTITIONS", ""]);
            for node in &document.items {
                let note = match node {
                    Node { leaving: true, .. } => "leaving",
                    Node { cut_off: true, .. } => "cut off from others",
                    Node { answering: true, .. } => "answered this",
                    _ => "",
                };
                table.row(vec![
                    Cell::plain(node.id.to_string()),
                    Cell::plain(safe(&node.address)),
                    Cell::plain(node.partitions.to_string()),
                    Cell::plain(note),
                ]);
            }
            table.render()
        })?;
        Ok(Ending::Well)
    }
}

impl Partitions {
    pub(super) fn run(self, Context { client, screen }: &Context) -> Result<Ending, Failure> {
        let Answer { text, document } = client.get::<Items<Partition>>("/v1/partitions", &[]).map_err(of_a_cluster)?;
        screen.show(&text, || {
            let mut table = Table::new(screen.out, &["PARTITIONS", "NODE", "ADDRESS"]);
            for run in document.items.chunk_by(|a, b| a.node == b.node) {
                let (first, last) = (&run[0], &run[run.len() - 1]);
                let range = match run.len() {
                    1 => first.partition.to_string(),
                    _ => format!("{}-{}", first.partition, last.partition),
                };
                table.row(vec![
                    Cell::plain(range),
                    Cell::plain(first.node.map_or("none".to_owned(), |node| node.to_string())),
                    Cell::plain(safe(first.address.as_deref().unwrap_or_default())),
                ]);
            }
            table.render()
        })?;
        Ok(Ending::Well)
    }
}
