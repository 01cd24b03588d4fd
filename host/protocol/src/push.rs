//! Messages to workers and clients that are reached at a URL.
//!
//! Each address, as far as the first `/` after it, has a line of its own and a few senders, so that one which hangs keeps
//! only its own messages waiting. Nothing is tried again here: what didn't arrive is sent again by whoever wants it
//! delivered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use machine::Reach;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::poll::{Key, Letter};
use super::post::Post;
use host_outbound::{Bounds, Client};

/// Requests at a time to one address, and to all.
const SENDERS: usize = 4;
const ALL_SENDERS: usize = 256;
/// Messages that wait for one address, and addresses that have any.
const WAITING: usize = 1_000;
const ADDRESSES: usize = 10_000;
/// How long a target may take to take a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of the answer, which is not looked at.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends messages to URLs.
pub(super) struct Push {
    client: Client,
    tokio: Handle,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    by_address: HashMap<String, Line>,
    senders: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<(String, Letter)>,
    senders: usize,
}

impl Push {
    pub(super) fn new(client: Client, tokio: Handle) -> Push {
        Push { client, tokio, lines: Mutex::default() }
    }

    /// Send a letter soon, if there is room for it.
    pub(super) fn send(&self, post: &Post, url: String, letter: Letter) {
        let address = address(&url).to_owned();
        let mut lines = self.lines.lock();
        if !lines.by_address.contains_key(&address) && lines.by_address.len() >= ADDRESSES {
            return;
        }
        let line = lines.by_address.entry(address.clone()).or_default();
        if line.waiting.len() < WAITING && !line.waiting.iter().any(|(_, waiting)| waiting.key == letter.key) {
            line.waiting.push_back((url, letter));
        }
        self.start(post, &mut lines, address);
    }

    /// Have a sender more at work for an address, if there may be one.
    fn start(&self, post: &Post, lines: &mut Lines, address: String) {
        let Some(line) = lines.by_address.get_mut(&address) else { return };
        if line.senders < SENDERS && lines.senders < ALL_SENDERS {
            line.senders += 1;
            lines.senders += 1;
            let post = post.clone();
            self.tokio.spawn(async move { post.push_all(&address).await });
        }
    }

    /// The next letter for an address. None: there is none, and whoever asked sends no more.
    pub(super) fn next(&self, post: &Post, address: &str) -> Option<(String, Letter)> {
        let mut lines = self.lines.lock();
        let next = lines.by_address.get_mut(address).and_then(|line| line.waiting.pop_front());
        if next.is_none() {
            lines.senders -= 1;
            let is_over = lines.by_address.get_mut(address).is_some_and(|line| {
                line.senders -= 1;
                line.senders == 0
            });
            if is_over {
                lines.by_address.remove(address);
            }
            // All senders may have been at work when others came.
            let unserved =
                lines.by_address.iter().find(|(_, line)| line.senders == 0).map(|(address, _)| address.clone());
            if let Some(address) = unserved {
                self.start(post, &mut lines, address);
            }
        }
        next
    }

    /// Send a letter. Which one arrived.
    pub(super) async fn deliver(&self, url: &str, letter: Letter) -> Option<Key> {
        let request =
            Request::post(url).header(CONTENT_TYPE, "application/json").body(Bytes::from(letter.text)).ok()?;
        let bounds = Bounds {
            reach: Reach::Any,
            head_timeout: PATIENCE,
            body_timeout: PATIENCE,
            total_timeout: PATIENCE,
            body_bytes: ANSWER_BYTES,
        };
        match self.client.send(request, &bounds).await {
            Ok(response) if response.status().is_success() => Some(letter.key),
            Ok(response) => {
                tracing::debug!("{url} didn't take a message: {}", response.status());
                None
            }
            Err(error) => {
                tracing::debug!("{url} wasn't sent a message: {error}");
                None
            }
        }
    }

    /// Forget what waits.
    pub(super) fn forget(&self) {
        self.lines.lock().by_address.values_mut().for_each(|line| line.waiting.clear());
    }
}

/// Whose line a URL belongs to.
fn address(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[begin..].find('/').map_or(url.len(), |path| begin + path);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_an_address_without_its_path() {
        for url in ["https://a:1", "https://a:1/", "https://a:1/b/c"] {
            assert_eq!(address(url), "https://a:1", "{url}");
        }
    }
}
