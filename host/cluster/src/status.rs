//! What a node says of itself and of its cluster, to people, balancers and Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use machine::PARTITIONS;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::assignment::NodeId;
use super::front::refuses;
use super::node::Node;
use host_api::{ErrorDocument, unavailable};

/// What is there besides the API that each partition has.
#[derive(OpenApi)]
#[openapi(paths(health, ready, metrics, nodes, partitions))]
struct Document;

/// How a node is.
#[derive(Serialize, ToSchema)]
struct NodeHealth {
    /// `ok`; anything else is an error.
    status: &'static str,
    version: &'static str,
    /// What the cluster is called.
    cluster: String,
    /// The number of this node.
    node: NodeId,
    /// Partitions that are ready on this node.
    partitions: usize,
    /// Partitions that any node has.
    partitions_of_all_nodes: usize,
    /// Nodes that live.
    nodes: usize,
}

/// A node that lives.
#[derive(Serialize, ToSchema)]
struct NodeDocument {
    id: NodeId,
    /// Where other nodes reach it.
    address: String,
    /// How many partitions it has.
    partitions: usize,
    /// It is giving away what it has, and will be gone.
    leaving: bool,
    /// Others don't reach it, or it doesn't reach them: it has no partitions until they do.
    cut_off: bool,
    /// It is the one that answers this.
    answering: bool,
}

/// The nodes that live.
#[derive(Serialize, ToSchema)]
struct NodesDocument {
    items: Vec<NodeDocument>,
}

/// Where a partition is.
#[derive(Serialize, ToSchema)]
struct PartitionDocument {
    partition: usize,
    /// The node that has it. None: it is about to be taken.
    node: Option<NodeId>,
    /// Where other nodes reach that node.
    address: Option<String>,
}

/// All partitions.
#[derive(Serialize, ToSchema)]
struct PartitionsDocument {
    items: Vec<PartitionDocument>,
}

/// What the API of a cluster says of itself.
pub(super) fn document(_: &Node) -> Response {
    Json(host_api::described_with(Document::openapi())).into_response()
}

/// Whether a node answers.
#[utoipa::path(get, path = "/health",
    responses((status = 200, body = NodeHealth), (status = 503, body = ErrorDocument)))]
pub(super) fn health(node: &Node) -> Response {
    if let Some(refused) = refuses(node) {
        return refused;
    }
    let (partitions_of_all_nodes, partitions) = node.spread();
    let health = NodeHealth {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        cluster: node.0.cluster.name.clone(),
        node: node.id(),
        partitions,
        partitions_of_all_nodes,
        nodes: node.members().peers.len(),
    };
    Json(health).into_response()
}

/// Whether every partition of the cluster has an owner, and those of this node are ready.
#[utoipa::path(get, path = "/ready",
    responses((status = 200, body = NodeHealth), (status = 503, body = ErrorDocument)))]
pub(super) fn ready(node: &Node) -> Response {
    if let Some(refused) = refuses(node) {
        return refused;
    }
    if node.is_cut_off() {
        return unavailable("this node and others of its cluster don't reach each other, so it has no partitions");
    }
    let (owned, ready) = node.spread();
    let own = node.members().owners.iter().filter(|owner| **owner == Some(node.id())).count();
    if owned == PARTITIONS && own == ready {
        return health(node);
    }
    unavailable(&format!("{owned} of {PARTITIONS} partitions have an owner, and {ready} of {own} are ready here"))
}

/// The nodes that live.
#[utoipa::path(get, path = "/v1/nodes",
    responses((status = 200, body = NodesDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) fn nodes(node: &Node) -> Response {
    let members = node.members();
    let count = |id| members.owners.iter().filter(|owner| **owner == Some(id)).count();
    let peers: BTreeMap<_, _> = members.peers.iter().collect();
    let items = peers.into_iter().map(|(id, peer)| NodeDocument {
        id: *id,
        address: peer.address.clone(),
        partitions: count(*id),
        leaving: members.leaving.contains(id),
        cut_off: members.cut_off.contains(id),
        answering: *id == node.id(),
    });
    Json(NodesDocument { items: items.collect() }).into_response()
}

/// Where each partition is.
#[utoipa::path(get, path = "/v1/partitions",
    responses((status = 200, body = PartitionsDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) fn partitions(node: &Node) -> Response {
    let members = node.members();
    let items = members.owners.iter().enumerate().map(|(partition, owner)| {
        let address = owner.and_then(|owner| members.peers.get(&owner)).map(|peer| peer.address.clone());
        PartitionDocument { partition, node: *owner, address }
    });
    Json(PartitionsDocument { items: items.collect() }).into_response()
}

/// For Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) fn metrics(node: &Node) -> Response {
    let counts = &node.0.counts;
    let (owned, ready) = node.spread();
    let (mut lag, mut queued, mut sessions) = (0, 0, 0);
    for (_, owned) in node.all_owned() {
        let load = owned.partition.load();
        lag += load.applied - load.committed;
        queued += load.queued;
        sessions += load.sessions;
    }
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP host_{name} {help}\n# TYPE host_{name} {kind}\nhost_{name} {value}");
    };
    let count = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    metric("partitions", "gauge", "Partitions that are ready on this node.", ready as f64);
    metric("partitions_owned", "gauge", "Partitions that any node owns.", owned as f64);
    metric("nodes", "gauge", "Nodes that live.", node.members().peers.len() as f64);
    let cut_off = node.members().cut_off.len() as f64;
    metric("nodes_cut_off", "gauge", "Nodes that others don't reach, or that don't reach others.", cut_off);
    metric("lease_holds", "gauge", "Whether this node may answer.", f64::from(u8::from(node.may_answer())));
    metric("takeovers_total", "counter", "Partitions that this node has taken.", count(&node.0.takeovers));
    metric("records_undurable", "gauge", "Records that are applied and not yet durable.", lag as f64);
    metric("executions_queued", "gauge", "Executions that wait for a worker.", queued as f64);
    metric("sessions", "gauge", "Executions in memory.", sessions as f64);
    metric("guests", "gauge", "Executions of other nodes in memory.", node.0.guests.count() as f64);
    metric("guests_taken_total", "counter", "Executions begun here for other nodes.", count(&node.0.guests.taken));
    metric("append_batches_total", "counter", "Statements that appended to the log.", count(&counts.batches));
    metric("append_groups_total", "counter", "Groups in them, one for each partition.", count(&counts.groups));
    metric("append_records_total", "counter", "Records in them.", count(&counts.records));
    metric("append_bytes_total", "counter", "Bytes in them.", count(&counts.bytes));
    metric("append_seconds_total", "counter", "The time that they took.", count(&counts.micros) / 1e6);
    metric("append_fenced_total", "counter", "Groups of partitions that had been lost.", count(&counts.fenced));
    metric("append_unknown_total", "counter", "Groups whose outcome was not known at first.", count(&counts.unknown));
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_answers_itself_is_described() {
        let (source, document) = (include_str!("front.rs"), host_api::described_with(Document::openapi()));
        let own = source.lines().filter(|line| line.contains("=> Target::Open(") || line.contains("=> Target::Own("));
        let paths: Vec<String> =
            own.map(|line| line.split('"').skip(1).step_by(2).map(|part| format!("/{part}")).collect()).collect();
        assert_eq!(paths.len(), 6);
        for path in paths.iter().filter(|path| *path != "/openapi.json") {
            assert!(document.paths.paths.contains_key(path), "{path} is not in the document");
        }
        assert!(document.paths.paths.contains_key("/v1/promises"), "what each partition has is there as well");
    }
}
