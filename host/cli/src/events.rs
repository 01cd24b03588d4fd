//! What an execution does, as it happens: the server-sent events of the host, read line by line.

use std::io::{BufRead, BufReader, Read};

use super::Context;
use super::client::{Answer, segment};
use super::documents::{Entry, Line, Promise};
use super::failure::Failure;
use super::patience::Patience;

/// Something that happened.
pub(super) enum Happening {
    /// Its journal has a new entry.
    Entry(Entry),
    /// It wrote a line.
    Line(Line),
    /// Nothing that could be told, for a while or just now.
    Nothing,
}

/// How far somebody has seen an execution. A stream that broke goes on from there.
#[derive(Default)]
pub(super) struct Seen {
    entries: u32,
    lines: u32,
}

impl Seen {
    /// Everything but what it writes.
    pub(super) fn no_entries() -> Seen {
        Seen { entries: u32::MAX, lines: 0 }
    }

    /// Follow an execution until it ends, or until the stream does: then there is no answer.
    pub(super) fn follow(
        &mut self,
        context: &Context,
        id: &str,
        patience: &mut Patience,
        mut show: impl FnMut(Happening) -> Result<(), Failure>,
    ) -> Result<Option<Answer<Promise>>, Failure> {
        let client = &context.client;
        let query = [("journal_from", self.entries.to_string()), ("logs_from", self.lines.to_string())];
        let stream = client.stream(&format!("/v1/executions/{}/events", segment(id)), &query)?;
        patience.reached();
        let mut events = Events::new(stream);
        while let Some(event) = events.next().map_err(|error| client.lost(&error))? {
            match event.name.as_str() {
                "journal" => {
                    let entry: Entry = client.read(&event.data)?;
                    self.entries = entry.index + 1;
                    show(Happening::Entry(entry))?;
                }
                "log" => {
                    let line: Line = client.read(&event.data)?;
                    self.lines = line.index + 1;
                    show(Happening::Line(line))?;
                }
                "settled" => {
                    let document = client.read(&event.data)?;
                    return Ok(Some(Answer { text: event.data, document }));
                }
                "" => show(Happening::Nothing)?,
                // Of a newer host.
                _ => {}
            }
        }
        Ok(None)
    }
}

/// An event: its name, and its data. A comment has neither.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

/// A stream of events.
struct Events<R> {
    lines: BufReader<R>,
}

impl<R: Read> Events<R> {
    fn new(stream: R) -> Events<R> {
        Events { lines: BufReader::new(stream) }
    }

    /// The next event. One that the stream ends in the middle of is none.
    fn next(&mut self) -> std::io::Result<Option<Event>> {
        let (mut event, mut is_comment) = (Event::default(), false);
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if event.data.is_empty() && !is_comment {
                    continue;
                }
                return Ok(Some(event));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => {
                    event.data.push('\n');
                    event.data.push_str(value);
                }
                "" => is_comment = true,
                // A field that means nothing to us.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_event_by_event() {
        let stream = ":\n\nevent: log\r\ndata: {\"a\":1}\r\n\r\n: quiet\n\nevent:settled\ndata:1\ndata: 2\n\nevent: log\ndata: 3\n";
        let mut events = Events::new(stream.as_bytes());
        let event = |name: &str, data: &str| Some(Event { name: name.into(), data: data.into() });
        assert_eq!(events.next().unwrap(), event("", ""), "a comment");
        assert_eq!(events.next().unwrap(), event("log", "{\"a\":1}"));
        assert_eq!(events.next().unwrap(), event("", ""), "another one");
        assert_eq!(events.next().unwrap(), event("settled", "1\n2"));
        assert_eq!(events.next().unwrap(), None);
    }
}
