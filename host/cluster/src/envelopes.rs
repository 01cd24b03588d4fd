//! Requests of the promise protocol: to the partition that each is about, or to all of them.

use std::collections::BTreeMap;

use axum::body::{Bytes, to_bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use machine::{PARTITIONS, partition_of};
use serde_json::Value;

use super::front::{Asked, put};
use super::node::Node;
use host_api::unavailable;
use host_protocol::{Envelope, Subject};

/// How many partitions are asked at a time.
const AT_ONCE: usize = 64;

pub(super) async fn answer(node: &Node, asked: Asked) -> Response {
    let subject = match Envelope::read(&asked.body) {
        Ok(envelope) => envelope.subject(),
        Err(_) => Subject::Unclear,
    };
    match subject {
        Subject::One(id) => put(node, partition_of(&id), asked).await,
        Subject::Tasks(ids) => tasks(node, asked, &ids).await,
        Subject::All(limit) => search(node, asked, limit).await,
        Subject::Unclear => put(node, node.some_partition(), asked).await,
    }
}

/// A heartbeat for tasks of several partitions: each hears of its own. The answer says the same for all.
async fn tasks(node: &Node, asked: Asked, ids: &[String]) -> Response {
    let mut by_partition: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        by_partition.entry(partition_of(id)).or_default().push(index);
    }
    let Ok(whole) = serde_json::from_slice::<Value>(&asked.body) else { return put(node, 0, asked).await };
    let mut last = None;
    for (partition, indices) in by_partition {
        let mut part = whole.clone();
        part["data"]["tasks"] = indices.iter().map(|index| whole["data"]["tasks"][*index].clone()).collect();
        let mut asked = asked.clone();
        asked.body = part.to_string().into();
        asked.headers.remove(header::CONTENT_LENGTH);
        let answer = put(node, partition, asked).await;
        if !answer.status().is_success() {
            return answer;
        }
        last = Some(answer);
    }
    match last {
        Some(answer) => answer,
        None => put(node, node.some_partition(), asked).await,
    }
}

/// A page of all partitions, by id. Each has looked as far as its cursor: what is beyond the nearest of them comes with
/// the next page.
async fn search(node: &Node, asked: Asked, limit: usize) -> Response {
    let ask = |partition| put(node, partition as u8, asked.clone());
    let mut answers = stream::iter(0..PARTITIONS).map(ask).buffer_unordered(AT_ONCE);
    let mut whole: Option<Page> = None;
    while let Some(answer) = answers.next().await {
        if !answer.status().is_success() {
            return answer;
        }
        let page = match to_bytes(answer.into_body(), usize::MAX).await {
            Ok(body) => Page::read(&body),
            Err(error) => return unavailable(&format!("a partition's answer is broken: {error}")),
        };
        match (page, &mut whole) {
            (Some(page), Some(whole)) => whole.add(page),
            (Some(page), None) => whole = Some(page),
            (None, _) => return unavailable("a partition's answer to a search isn't one"),
        }
    }
    whole.expect("there are partitions").answer(limit)
}

struct Page {
    envelope: Value,
    /// What is listed: `promises`, `tasks` or `schedules`.
    name: String,
    items: BTreeMap<String, Value>,
    cursor: Option<String>,
}

impl Page {
    fn read(body: &Bytes) -> Option<Page> {
        let mut envelope: Value = serde_json::from_slice(body).ok()?;
        let data = envelope.get_mut("data")?.as_object_mut()?;
        let cursor = data.remove("cursor").and_then(|cursor| cursor.as_str().map(str::to_owned));
        let name = data.iter().find(|(_, value)| value.is_array()).map(|(name, _)| name.clone())?;
        let Some(Value::Array(listed)) = data.remove(&name) else { return None };
        let mut items = BTreeMap::new();
        for item in listed {
            let id = item.get("id")?.as_str()?.to_owned();
            items.insert(id, item);
        }
        Some(Page { envelope, name, items, cursor })
    }

    fn add(&mut self, other: Page) {
        self.items.extend(other.items);
        self.cursor = match (self.cursor.take(), other.cursor) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
    }

    fn answer(mut self, limit: usize) -> Response {
        if let Some(cursor) = &self.cursor {
            self.items.retain(|id, _| id <= cursor);
        }
        if self.items.len() > limit {
            let beyond = self.items.keys().nth(limit).expect("there are more").clone();
            self.items.split_off(&beyond);
            self.cursor = self.items.keys().next_back().cloned();
        }
        self.envelope["data"][&self.name] = self.items.into_values().collect();
        if let Some(cursor) = self.cursor {
            self.envelope["data"]["cursor"] = cursor.into();
        }
        axum::Json(self.envelope).into_response()
    }
}
