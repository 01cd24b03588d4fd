//! Guests on other nodes: those of this node's partitions that others run, and those of others that run here.
//!
//! A node takes a guest only if it has hands free, and says so otherwise. What it has is forgotten when the node that it
//! is run for is gone; then that guest begins again elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::assignment::NodeId;
use super::letters::{encode, read};
use super::lodgers::{Key, Lodgers};
use super::node::Node;
use host_partition::{Answer, Beginning, Elsewhere, Lodger, Room, Told};

/// How long a turn may take, its replay before it included.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node that had no room is left alone.
const REFUSED: Duration = Duration::from_millis(200);

/// The guests of others that are here, and how many of ours each other node has at work.
pub(super) struct Guests {
    here: Mutex<Lodgers<Lodger>>,
    /// Bounds those at work here.
    hands: Arc<Semaphore>,
    there: Mutex<HashMap<NodeId, There>>,
    /// How many were begun here.
    pub(super) taken: AtomicU64,
}

/// What is known of another node.
struct There {
    hands: Arc<Semaphore>,
    /// When it last had no room.
    refused: Option<Instant>,
}

impl Guests {
    pub(super) fn new(workers: usize, most: usize) -> Guests {
        let hands = Arc::new(Semaphore::new(workers));
        let here = Mutex::new(Lodgers::new(most));
        Guests { here, hands, there: Mutex::default(), taken: AtomicU64::new(0) }
    }

    /// These nodes live: what the others had here has nobody to record it.
    pub(super) fn know(&self, is_alive: impl Fn(NodeId) -> bool) {
        self.here.lock().know(&is_alive);
        self.there.lock().retain(|node, _| is_alive(*node));
    }

    /// How many are here.
    pub(super) fn count(&self) -> usize {
        self.here.lock().count()
    }
}

impl Elsewhere for Node {
    fn room(&self) -> Option<Box<dyn Room>> {
        let (id, members) = (self.id(), self.members());
        let mut there = self.0.guests.there.lock();
        let free = members.peers.iter().filter(|(peer, _)| **peer != id && members.staying.contains(peer));
        // The one that has the most hands free.
        let free = free.filter_map(|(peer, known)| {
            let new = || There { hands: Arc::new(Semaphore::new(known.workers)), refused: None };
            let There { hands, refused } = there.entry(*peer).or_insert_with(new);
            let has_refused = refused.is_some_and(|at| at.elapsed() < REFUSED);
            (!has_refused).then(|| (*peer, hands.clone()))
        });
        let (peer, hands) = free.max_by_key(|(_, hands)| hands.available_permits())?;
        let hand = hands.try_acquire_owned().ok()?;
        let number = Uuid::new_v4().as_u64_pair().0;
        Some(Box::new(Lodging { node: self.clone(), peer, number, turns: 0, hand: Some(hand), is_there: false }))
    }
}

/// Room on another node.
struct Lodging {
    node: Node,
    peer: NodeId,
    number: u64,
    /// How many it was asked to take.
    turns: u64,
    /// While the guest is at work.
    hand: Option<OwnedSemaphorePermit>,
    is_there: bool,
}

impl Lodging {
    async fn ask(&mut self, path: &str, what: &impl Serialize) -> Answer {
        // Until there is an answer, it may be there.
        self.is_there = true;
        let Some(answer) = self.node.ask_within::<Answer>(PATIENCE, self.peer, path, what).await else {
            return Answer::Gone;
        };
        self.is_there = match &answer {
            Answer::Turn { rest, .. } => {
                if *rest != machine::Rest::Running {
                    self.hand = None;
                }
                !matches!(rest, machine::Rest::Finished(_))
            }
            Answer::Gone | Answer::Differs => false,
        };
        answer
    }
}

impl Room for Lodging {
    fn begin(&mut self, beginning: Beginning) -> BoxFuture<'_, Answer> {
        let key = (self.node.id(), self.number);
        async move {
            let answer = self.ask("/peer/guests/begin", &(key, beginning)).await;
            if let Answer::Gone = answer
                && let Some(there) = self.node.0.guests.there.lock().get_mut(&self.peer)
            {
                there.refused = Some(Instant::now());
            }
            answer
        }
        .boxed()
    }

    fn go_on(&mut self, told: Option<Told>) -> BoxFuture<'_, Answer> {
        let key = (self.node.id(), self.number);
        self.turns += 1;
        let turn = self.turns;
        async move { self.ask("/peer/guests/turn", &(key, turn, told)).await }.boxed()
    }
}

impl Drop for Lodging {
    fn drop(&mut self) {
        if self.is_there {
            let (node, peer, key) = (self.node.clone(), self.peer, (self.node.id(), self.number));
            // If this is lost, the guest stays there until this node leaves.
            self.node.0.tokio.spawn(async move {
                let _: Option<()> = node.ask(peer, "/peer/guests/end", &key).await;
            });
        }
    }
}

/// What another node wants with a guest of its own.
pub(super) async fn answer(node: &Node, path: &str, body: Bytes) -> Response {
    let guests = &node.0.guests;
    let answer = match path {
        "/peer/guests/begin" => match read::<(Key, Beginning)>(&body) {
            Some((key, beginning)) => begin(node, key, beginning).await,
            None => return StatusCode::BAD_REQUEST.into_response(),
        },
        "/peer/guests/turn" => match read::<(Key, u64, Option<Told>)>(&body) {
            Some((key, turn, told)) => go_on(node, key, turn, told).await,
            None => return StatusCode::BAD_REQUEST.into_response(),
        },
        "/peer/guests/end" => {
            let lodger = read::<Key>(&body).and_then(|key| guests.here.lock().leave(key));
            drop(lodger);
            return encode(&()).into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    encode(&answer).into_response()
}

/// A guest that is at work here. It goes if nobody waits any more for what it does: then whoever asked has gone.
struct AtWork<'a> {
    guests: &'a Guests,
    key: Key,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.guests.here.lock().give_up(self.key);
    }
}

async fn begin(node: &Node, key: Key, beginning: Beginning) -> Answer {
    let guests = &node.0.guests;
    let at_work: usize = node.all_owned().iter().map(|(_, owned)| owned.partition.load().running).sum();
    let Ok(hand) = guests.hands.clone().try_acquire_owned() else { return Answer::Gone };
    if at_work >= node.0.options.partition.workers || !node.may_answer() || !guests.here.lock().enter(key) {
        return Answer::Gone;
    }
    guests.taken.fetch_add(1, Ordering::Relaxed);
    let _at_work = AtWork { guests, key };
    let (programs, vault) = (node.programs(), node.vault());
    let begun = tokio::task::spawn_blocking(move || {
        let _hand = hand;
        Lodger::begin(beginning, &programs, &vault)
    });
    keep(node, key, begun.await)
}

async fn go_on(node: &Node, key: Key, turn: u64, told: Option<Told>) -> Answer {
    let guests = &node.0.guests;
    let Some(lodger) = guests.here.lock().take(key, turn) else { return Answer::Gone };
    let _at_work = AtWork { guests, key };
    let Ok(hand) = guests.hands.clone().acquire_owned().await else { return Answer::Gone };
    let gone_on = tokio::task::spawn_blocking(move || {
        let _hand = hand;
        lodger.go_on(told)
    });
    keep(node, key, gone_on.await)
}

fn keep(node: &Node, key: Key, done: Result<(Option<Lodger>, Answer), tokio::task::JoinError>) -> Answer {
    let (lodger, answer) = done.unwrap_or((None, Answer::Gone));
    let unwanted = node.0.guests.here.lock().rest(key, lodger);
    drop(unwanted);
    answer
}
