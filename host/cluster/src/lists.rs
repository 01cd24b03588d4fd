//! Lists of all partitions together.

use std::collections::VecDeque;

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use machine::PARTITIONS;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::front::{Asked, put, query_value};
use super::node::Node;
use host_api::{bad_request, unavailable};

/// Items of a page, if nothing else is asked for; and at most.
const DEFAULT_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 1_000;
/// How many partitions are asked at a time.
const AT_ONCE: usize = 64;

/// A page, as a partition gives it.
#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// A page of all partitions.
#[derive(Serialize)]
struct Merged {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// What an item is ordered by.
#[derive(Deserialize)]
struct Age {
    created_at_ms: u64,
}

/// One partition's part of a list.
struct Part {
    partition: u8,
    /// Where the page begins that is at hand. None: at the newest.
    from: Option<String>,
    /// What is left of the page, with ages.
    items: VecDeque<(u64, Box<RawValue>)>,
    /// How much of it was taken.
    taken: usize,
    /// Where the next page begins. None: there is none.
    next: Option<String>,
}

/// A page of a list, the newest first: of all partitions, each of which has its own order.
pub(super) async fn answer(node: &Node, asked: Asked) -> Response {
    let limit = query_value(&asked.uri, "limit").map_or(Ok(DEFAULT_LIMIT), |limit| limit.parse());
    let Ok(limit) = limit else { return bad_request("limit is not a number") };
    let limit: usize = limit.clamp(1, LARGEST_LIMIT);
    let positions = match query_value(&asked.uri, "cursor").map(|cursor| read_cursor(&cursor)) {
        None => (0..PARTITIONS).map(|partition| (partition as u8, None)).collect(),
        Some(Some(positions)) => positions,
        Some(None) => return bad_request("the cursor is none that a list gave"),
    };
    match page(node, &asked, positions, limit).await {
        Ok(merged) => Json(merged).into_response(),
        Err(refused) => refused,
    }
}

async fn page(
    node: &Node,
    asked: &Asked,
    positions: Vec<(u8, Option<String>)>,
    limit: usize,
) -> Result<Merged, Response> {
    // What most pages need, so that few partitions are asked twice.
    let each = (2 * limit / positions.len().max(1)).clamp(4, limit.max(4));
    let fetch = |(partition, from)| Part::fetch(node, asked, partition, from, each);
    let mut parts: Vec<Result<Part, Response>> =
        stream::iter(positions).map(fetch).buffer_unordered(AT_ONCE).collect().await;
    let mut parts: Vec<Part> = parts.drain(..).collect::<Result<_, _>>()?;
    parts.sort_by_key(|part| part.partition);
    let mut items = Vec::new();
    while items.len() < limit {
        for part in parts.iter_mut().filter(|part| part.items.is_empty()) {
            while part.items.is_empty()
                && let Some(next) = part.next.take()
            {
                *part = Part::fetch(node, asked, part.partition, Some(next), each).await?;
            }
        }
        let newest = parts.iter_mut().filter(|part| !part.items.is_empty()).max_by_key(|part| part.items[0].0);
        let Some(part) = newest else { break };
        part.taken += 1;
        items.extend(part.items.pop_front().map(|(_, item)| item));
    }
    let mut rest = Vec::new();
    for part in parts {
        let left = match (part.items.is_empty(), part.taken) {
            (true, _) => part.next.map(Some),
            (false, 0) => Some(part.from),
            // Where it goes on after a part of a page, only the partition knows.
            (false, taken) => Part::fetch(node, asked, part.partition, part.from, taken).await?.next.map(Some),
        };
        rest.extend(left.map(|from| (part.partition, from)));
    }
    let next = (!rest.is_empty()).then(|| write_cursor(&rest));
    Ok(Merged { items, next })
}

impl Part {
    async fn fetch(
        node: &Node,
        asked: &Asked,
        partition: u8,
        from: Option<String>,
        limit: usize,
    ) -> Result<Part, Response> {
        let query = asked.uri.query().unwrap_or_default().split('&');
        let mut query: Vec<String> = query
            .filter(|pair| !pair.is_empty() && !pair.starts_with("limit=") && !pair.starts_with("cursor="))
            .map(str::to_owned)
            .collect();
        query.push(format!("limit={limit}"));
        query.extend(from.iter().map(|from| format!("cursor={from}")));
        let uri = format!("{}?{}", asked.uri.path(), query.join("&")).parse();
        let uri = uri.map_err(|_| bad_request("the address is no URI"))?;
        let one = Asked { method: Method::GET, uri, headers: asked.headers.clone(), body: Bytes::new(), fresh: None };
        let response = put(node, partition, one).await;
        if !response.status().is_success() {
            return Err(response);
        }
        let broken = |error: &dyn std::fmt::Display| unavailable(&format!("partition {partition}: {error}"));
        let body = to_bytes(response.into_body(), usize::MAX).await.map_err(|error| broken(&error))?;
        let Page { items, next } = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        let aged = |item: Box<RawValue>| {
            let age: Result<Age, _> = serde_json::from_str(item.get());
            age.map(|age| (age.created_at_ms, item))
        };
        let items = items.into_iter().map(aged).collect::<Result<_, _>>().map_err(|error| broken(&error))?;
        Ok(Part { partition, from, items, taken: 0, next })
    }
}

/// `<partition>.<position>` for those that have more, without a position for those that haven't begun, joined by `_`.
fn write_cursor(positions: &[(u8, Option<String>)]) -> String {
    let part = |(partition, from): &(u8, Option<String>)| match from {
        Some(from) => format!("{partition:x}.{from}"),
        None => format!("{partition:x}"),
    };
    positions.iter().map(part).collect::<Vec<_>>().join("_")
}

fn read_cursor(cursor: &str) -> Option<Vec<(u8, Option<String>)>> {
    let part = |part: &str| {
        let (partition, from) = match part.split_once('.') {
            Some((partition, from)) => (partition, Some(from)),
            None => (part, None),
        };
        let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let partition = u8::from_str_radix(partition, 16).ok()?;
        match from {
            None => Some((partition, None)),
            Some(from) => Some(from).filter(is_plain).map(|from| (partition, Some(from.to_owned()))),
        }
    };
    cursor.split('_').map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let positions = vec![(0, None), (10, Some("17".to_owned())), (63, Some("1".to_owned()))];
        assert_eq!(write_cursor(&positions), "0_a.17_3f.1");
        assert_eq!(read_cursor("0_a.17_3f.1"), Some(positions));
        for bad in ["", "100", "x", "0_", "a.1&b", "a.%20"] {
            assert_eq!(read_cursor(bad), None, "{bad}");
        }
    }
}
