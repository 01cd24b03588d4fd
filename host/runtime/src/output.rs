//! What a guest writes: bytes in, lines out, bounded.
//!
//! Output is written once. A guest that is run again writes the same again, so the pieces that an earlier run wrote are
//! left out by counting them; for that, where lines are split and where output is cut must depend on nothing but what
//! the guest wrote.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use machine::{Level, Limit, Output, Stream};

use super::Limits;
use super::environment::Environment;

/// The longest piece of a line.
const MAX_LINE_BYTES: usize = 16 << 10;
/// What a line counts beside its text, so that empty lines are bounded too.
const LINE_COST_BYTES: usize = 16;
/// How much of the words before a crash is kept.
const MAX_LAST_WORDS_BYTES: usize = 4 << 10;

/// The two standard streams and the log of one execution.
pub(super) struct Console {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    pieces: Vec<Output>,
    /// How many pieces an earlier run wrote that this one has yet to pass.
    written_before: u32,
    limit_bytes: usize,
    /// What to do where the limit is passed.
    advice: Box<str>,
    environment: Arc<Environment>,
    used_bytes: usize,
    is_cut: bool,
    last_words: String,
}

impl Console {
    pub(super) fn new(limits: &Limits, function: &str, environment: &Arc<Environment>, written_before: u32) -> Console {
        Console {
            stdout: Vec::new(),
            stderr: Vec::new(),
            pieces: Vec::new(),
            written_before,
            limit_bytes: limits.output_bytes,
            advice: limits.advice(Limit::Output, function).into(),
            environment: environment.clone(),
            used_bytes: 0,
            is_cut: false,
            last_words: String::new(),
        }
    }

    /// Bytes for standard output or standard error.
    pub(super) fn write(&mut self, stream: Stream, mut bytes: &[u8], now_ms: u64) {
        while !bytes.is_empty() {
            let line = self.partial(stream);
            let room = &bytes[..bytes.len().min(MAX_LINE_BYTES - line.len())];
            match room.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&room[..end]);
                    bytes = &bytes[end + 1..];
                    self.end_line(stream, now_ms);
                }
                None => {
                    line.extend_from_slice(room);
                    bytes = &bytes[room.len()..];
                    if line.len() == MAX_LINE_BYTES {
                        self.end_piece(stream, now_ms);
                    }
                }
            }
        }
    }

    /// A message for the log, of one or more lines.
    pub(super) fn log(&mut self, level: Level, message: &str, now_ms: u64) {
        for line in message.lines() {
            let mut rest = line;
            while rest.len() > MAX_LINE_BYTES {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_LINE_BYTES));
                self.push(Stream::Log(level), piece.to_owned(), now_ms);
                rest = after;
            }
            self.push(Stream::Log(level), rest.to_owned(), now_ms);
        }
    }

    /// The guest has ended: what it wrote without ending the line is a line.
    pub(super) fn finish(&mut self, now_ms: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.partial(stream).is_empty() {
                self.end_line(stream, now_ms);
            }
        }
    }

    /// What a guest that is about to abort says on its standard error: a panic and where, or why an allocation failed.
    /// It is nowhere else.
    pub(super) fn last_words(&self) -> &str {
        &self.last_words
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        mem::take(&mut self.pieces)
    }

    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr }
    }

    fn end_line(&mut self, stream: Stream, now_ms: u64) {
        let line = mem::take(self.partial(stream));
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.end_text(stream, String::from_utf8_lossy(line).into_owned(), now_ms);
    }

    /// Ends a piece of a line that is too long, where no character is torn apart.
    fn end_piece(&mut self, stream: Stream, now_ms: u64) {
        let line = self.partial(stream);
        let torn = line.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
        let rest = line.split_off(line.len() - if torn < 4 { torn } else { 0 });
        let piece = mem::replace(line, rest);
        self.end_text(stream, String::from_utf8_lossy(&piece).into_owned(), now_ms);
    }

    fn end_text(&mut self, stream: Stream, text: String, now_ms: u64) {
        if stream == Stream::Stderr {
            self.listen(&text);
        }
        self.push(stream, text, now_ms);
    }

    fn listen(&mut self, line: &str) {
        if (line.starts_with("thread '") && line.contains("panicked at ")) || line.starts_with("memory allocation of ")
        {
            self.last_words.clear();
        } else if self.last_words.is_empty() {
            return;
        }
        let room = MAX_LAST_WORDS_BYTES.saturating_sub(self.last_words.len() + 1);
        self.last_words.push_str(&line[..line.floor_char_boundary(room.min(line.len()))]);
        if room > 0 {
            self.last_words.push('\n');
        }
    }

    fn push(&mut self, stream: Stream, text: String, now_ms: u64) {
        if self.is_cut {
            return;
        }
        let text = match self.environment.mask(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => masked,
        };
        self.used_bytes += text.len() + LINE_COST_BYTES;
        let text = if self.used_bytes > self.limit_bytes {
            self.is_cut = true;
            format!("output limit of {} bytes reached; {}", self.limit_bytes, self.advice)
        } else {
            text
        };
        if self.written_before > 0 {
            self.written_before -= 1;
            return;
        }
        self.pieces.push(Output { at_ms: now_ms, stream, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(output_bytes: usize, written_before: u32) -> Console {
        Console::new(&Limits { output_bytes, ..Limits::default() }, "f", &Arc::default(), written_before)
    }

    fn texts(console: &mut Console) -> Vec<String> {
        console.take().into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn lines_are_split_however_they_arrive() {
        let mut console = console(1000, 0);
        for bytes in ["one\ntw", "o\r\n", "\n", "three"] {
            console.write(Stream::Stdout, bytes.as_bytes(), 1);
        }
        assert_eq!(texts(&mut console), ["one", "two", ""]);
        console.finish(1);
        assert_eq!(texts(&mut console), ["three"]);
    }

    #[test]
    fn a_line_too_long_comes_in_parts_of_whole_characters() {
        let mut console = console(1 << 20, 0);
        let line = format!("x{}", "é".repeat(MAX_LINE_BYTES));
        console.write(Stream::Stderr, line.as_bytes(), 1);
        console.finish(1);
        let parts = texts(&mut console);
        assert!(parts.len() == 3 && parts.iter().all(|part| part.len() <= MAX_LINE_BYTES));
        assert_eq!(parts.concat(), line);
        console.log(Level::Info, &line, 1);
        assert_eq!(texts(&mut console).concat(), line);
    }

    #[test]
    fn output_is_cut_once_and_where_it_was_cut_before() {
        let write = |written_before| {
            let mut console = console(100, written_before);
            for _ in 0..100 {
                console.write(Stream::Stdout, b"0123456789\n", 1);
            }
            texts(&mut console)
        };
        let all = write(0);
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], "output limit of 100 bytes reached; raise it with --output-limit");
        assert_eq!(write(2), all[2..]);
        assert!(write(4).is_empty());
    }

    #[test]
    fn last_words_are_those_of_the_last_panic() {
        let mut console = console(10, 0);
        console.write(Stream::Stderr, b"chatter\nthread 'main' panicked at a.rs:1:1:\nfirst\n", 1);
        console.write(Stream::Stderr, b"thread 'main' panicked at b.rs:2:2:\nsecond\n", 1);
        assert_eq!(console.last_words(), "thread 'main' panicked at b.rs:2:2:\nsecond\n");
        console.write(Stream::Stderr, &b"y".repeat(100_000), 1);
        assert!(console.last_words().len() <= MAX_LAST_WORDS_BYTES);
    }
}
