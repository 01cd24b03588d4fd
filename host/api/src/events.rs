//! What an execution does, as it happens: server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream};
use machine::Id;
use serde::Serialize;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::executions::execution;
use super::types::{EntryDocument, EventsQuery, LogDocument, PromiseDocument};
use host_partition::Error;

/// Comments keep a quiet connection from being cut.
const QUIET: Duration = Duration::from_secs(15);

/// Where a client has got to.
struct Follower {
    api: Api,
    id: Id,
    next_entry: u32,
    next_line: u32,
    ready: VecDeque<Event>,
    /// Whether it was looked at before.
    has_looked: bool,
    is_over: bool,
}

/// The entries of an execution's journal (`journal`), what it writes (`log`), and at the end what became of it
/// (`settled`).
#[utoipa::path(get, path = "/v1/executions/{id}/events", params(("id" = String, Path,), EventsQuery),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = ErrorDocument)))]
pub(super) async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Query(query) = query?;
    let id = execution(&api, &id).await?;
    let follower = Follower {
        api,
        id,
        next_entry: query.journal_from.unwrap_or(0),
        next_line: query.logs_from.unwrap_or(0),
        ready: VecDeque::new(),
        has_looked: false,
        is_over: false,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET)))
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        let mut is_woken = false;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            let followers = self.api.host.follow(&self.id);
            // Before looking, so that nothing that happens in between is missed.
            let mut progress = std::pin::pin!(followers.notified());
            progress.as_mut().enable();
            // The host is on its way out, or broken: the client finds out when it comes again.
            self.look().await.ok()?;
            if self.ready.is_empty() {
                if is_woken {
                    return Some(quiet());
                }
                tokio::select! {
                    () = progress => is_woken = true,
                    () = self.api.closing() => return None,
                }
            }
        }
    }

    /// Gather what is new.
    async fn look(&mut self) -> Result<(), Error> {
        let host = &self.api.host;
        // The promise first: if it is settled, all that belongs to it is seen below.
        let promise = host.promise(&self.id).await?;
        let mut entries = Vec::new();
        for entry in host.journal(&self.id, self.next_entry).await? {
            entries.push(EntryDocument::of(self.next_entry, &entry));
            self.next_entry += 1;
        }
        let mut lines = VecDeque::new();
        for piece in host.output(&self.id, self.next_line).await? {
            lines.push_back((piece.at_ms, event("log", &LogDocument::of(self.next_line, &piece))));
            self.next_line += 1;
        }
        self.merge(entries, lines);
        if let Some(promise) = promise.filter(|promise| promise.outcome.is_some()) {
            self.ready.push_back(event("settled", &PromiseDocument::whole(&promise)));
            self.is_over = true;
        } else if !std::mem::replace(&mut self.has_looked, true) {
            self.ready.push_back(quiet());
        }
        Ok(())
    }
}

impl Follower {
    /// Entries and lines, as they happened: a line has the time that the guest saw when it wrote it, which is that of
    /// the entry that began the turn.
    fn merge(&mut self, entries: Vec<EntryDocument>, mut lines: VecDeque<(u64, Event)>) {
        for entry in entries {
            // Before a turn come the lines of those before it; before the end, all.
            let before = if entry.is_last() { Some(u64::MAX) } else { entry.turn_at_ms() };
            let with = entry.turn_at_ms();
            self.take_lines(&mut lines, |at| before.is_some_and(|before| at < before));
            self.ready.push_back(event("journal", &entry));
            self.take_lines(&mut lines, |at| with.is_some_and(|with| at <= with));
        }
        self.take_lines(&mut lines, |_| true);
    }

    fn take_lines(&mut self, lines: &mut VecDeque<(u64, Event)>, is_due: impl Fn(u64) -> bool) {
        while lines.front().is_some_and(|(at, _)| is_due(*at)) {
            self.ready.extend(lines.pop_front().map(|(_, line)| line));
        }
    }
}

/// There is nothing new, or nothing more: a client may want to look whether it, or something that it waits for, is held.
fn quiet() -> Event {
    Event::default().comment("quiet")
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).expect("our own documents always encode"))
}
