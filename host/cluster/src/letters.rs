//! Messages of the promise protocol. Each arises where its promise is, and goes to whoever is connected, to whichever node
//! that is. What can be given to nobody waits where it arose, and is fetched by the node to which somebody comes.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use machine::Id;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::assignment::NodeId;
use super::front::peer_request;
use super::node::Node;
use host_partition::{Courier, Message};
use host_protocol::{Letter, Sender};

/// How long another node may take to say whether it has taken a letter.
const PATIENCE: Duration = Duration::from_secs(2);

impl Courier for Node {
    fn send(&self, message: Message) {
        let (address, letter) = self.0.post.write(message);
        let Some(letter) = self.0.post.hand(&address, letter) else { return };
        // With all hands full it waits here, and is fetched or sent again.
        match (self.others().is_empty(), self.0.carriers.clone().try_acquire_owned()) {
            (false, Ok(permit)) => {
                let node = self.clone();
                self.0.tokio.spawn(async move {
                    node.carry(&address, letter).await;
                    drop(permit);
                });
            }
            _ => self.0.post.deliver(&address, letter),
        }
    }

    fn forget(&self) {
        self.0.post.forget();
    }
}

impl Sender for Node {
    fn is_offered(&self, id: &Id, version: u32) -> bool {
        // What came from elsewhere was looked at there.
        self.owned(id.partition()).is_none_or(|owned| owned.partition.is_offered(id, version))
    }

    fn is_untold(&self, id: &Id, address: &str) -> bool {
        self.owned(id.partition()).is_none_or(|owned| owned.partition.is_untold(id, address))
    }

    fn delivered(&self, id: Id, address: String) {
        if let Some(owned) = self.owned(id.partition()) {
            return owned.partition.delivered(id, address);
        }
        let Some(owner) = self.owner(id.partition()) else { return };
        let node = self.clone();
        // If this is lost, the address is told again.
        self.0.tokio.spawn(async move {
            let _: Option<()> = node.ask(owner, "/peer/letters/arrived", &(id, address)).await;
        });
    }
}

impl Node {
    /// Give a letter to whoever is connected to another node; or keep it here until somebody comes.
    async fn carry(&self, address: &str, letter: Letter) {
        for peer in self.others() {
            if self.ask::<bool>(peer, "/peer/letters/hand", &(address, &letter)).await == Some(true) {
                return;
            }
        }
        self.0.post.deliver(address, letter);
    }

    /// All nodes but this one.
    pub(super) fn others(&self) -> Vec<NodeId> {
        let id = self.id();
        self.members().peers.into_keys().filter(|peer| *peer != id).collect()
    }

    /// Ask another node something. None: it doesn't answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, peer: NodeId, path: &str, what: &impl Serialize) -> Option<T> {
        self.ask_within(PATIENCE, peer, path, what).await
    }

    /// The same, with as much patience.
    pub(super) async fn ask_within<T: DeserializeOwned>(
        &self,
        patience: Duration,
        peer: NodeId,
        path: &str,
        what: &impl Serialize,
    ) -> Option<T> {
        let body = postcard::to_stdvec(what).expect("what is asked always encodes");
        let request = peer_request(Method::POST, path, body.into());
        let answer = async {
            let response = self.0.peers.send(peer, request).await.ok()?;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            postcard::from_bytes(&body).ok()
        };
        tokio::time::timeout(patience, answer).await.ok()?
    }
}

/// Somebody comes to this node: what has waited for him elsewhere is fetched, once what arises now finds him here.
pub(super) fn poll(node: &Node, group: String, member: String) -> Response {
    let response = host_api::messages(&node.0.post, &group, &member, node.0.closing.clone());
    let node = node.clone();
    node.0.tokio.clone().spawn(async move {
        let whom = (&group, &member);
        let fetch = |peer| node.ask::<Vec<Letter>>(peer, "/peer/letters/take", &whom);
        let mut fetched = stream::iter(node.others()).map(fetch).buffer_unordered(16);
        let address = format!("poll://uni@{group}/{member}");
        while let Some(letters) = fetched.next().await {
            letters.into_iter().flatten().for_each(|letter| node.0.post.deliver(&address, letter));
        }
    });
    response
}

/// What another node says or asks about letters.
pub(super) fn answer(node: &Node, path: &str, body: &[u8]) -> Response {
    let answer = match path {
        "/peer/letters/hand" => read::<(String, Letter)>(body)
            .map(|(address, letter)| encode(&node.0.post.hand(&address, letter).is_none())),
        "/peer/letters/take" => {
            read::<(String, String)>(body).map(|(group, member)| encode(&node.0.post.take_waiting(&group, &member)))
        }
        "/peer/letters/arrived" => read::<(Id, String)>(body).map(|(id, address)| {
            node.delivered(id, address);
            encode(&())
        }),
        _ => None,
    };
    answer.map_or_else(|| StatusCode::BAD_REQUEST.into_response(), IntoResponse::into_response)
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    postcard::from_bytes(body).ok()
}

pub(super) fn encode(what: &impl Serialize) -> Bytes {
    postcard::to_stdvec(what).expect("an answer always encodes").into()
}
