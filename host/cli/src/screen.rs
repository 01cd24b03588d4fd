//! What is printed where. Results go to stdout; progress, notes and errors to stderr.
//!
//! A result is the same text whether a person or a program reads it, but for colours, which only a terminal gets (and
//! none with `NO_COLOR`). What guests wrote is shown with its control characters made visible: a function's log must
//! not be able to move somebody's cursor.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use super::documents::{Entry, Line};
use super::failure::Failure;
use super::times;

/// Both streams.
pub(super) struct Screen {
    /// Print documents as they are.
    pub(super) json: bool,
    /// For text on stdout.
    pub(super) out: Paint,
    /// For text on stderr.
    pub(super) err: Paint,
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    /// Whether it is a terminal that people look at.
    pub(super) is_terminal: bool,
    colors: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Screen {
        Screen { json, out: Paint::of(&io::stdout()), err: Paint::of(&io::stderr()) }
    }

    /// Print text on stdout, and end the line if it doesn't.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') && !text.is_empty() {
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// Print the document as it came with `--json`, and the text otherwise.
    pub(super) fn show(&self, document: &str, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.print(document) } else { self.print(&text()) }
    }

    /// Tell the person at the terminal something. If it can't be written, there is nobody there.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Say why it wasn't done.
    pub(super) fn failure(&self, failure: &Failure) {
        if let Failure::Output(error) = failure
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return;
        }
        if self.json {
            let error = serde_json::json!({ "error": { "code": failure.code(), "message": failure.to_string() } });
            if self.print(&error.to_string()).is_ok() {
                return;
            }
        }
        self.note(&format!("{} {failure}", self.err.red("error:")));
    }
}

impl Paint {
    fn of(stream: &impl IsTerminal) -> Paint {
        let is_terminal = stream.is_terminal();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint { is_terminal, colors: is_terminal && !is_set("NO_COLOR") && !is_dumb }
    }

    /// Without colours.
    #[cfg(test)]
    pub(super) const PLAIN: Paint = Paint { is_terminal: false, colors: false };

    fn paint(self, code: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// In the colour of a state of a promise.
    pub(super) fn state(self, state: &str, text: &str) -> String {
        match state {
            "resolved" => self.paint("32", text),
            "pending" => self.paint("36", text),
            "canceled" => self.paint("33", text),
            "rejected" | "crashed" | "timed_out" | "held" | "refused" => self.red(text),
            _ => text.to_owned(),
        }
    }

    /// An entry of a journal in a line. `elapsed`: since the execution began, where that is known.
    pub(super) fn entry(self, entry: &Entry, elapsed: Option<u64>) -> String {
        let mark = match entry.entry.as_str() {
            "asked" => "→",
            "told" => "←",
            "recorded" => "✓",
            "dropped" => "×",
            _ => "•",
        };
        let text = match entry.until_ms {
            Some(until_ms) => entry.text.replace(&until_ms.to_string(), &times::timestamp(until_ms)),
            None => entry.text.clone(),
        };
        let text = safe(text.trim_end());
        let text = entry.state.as_ref().map_or(text.to_string(), |state| self.state(state, &text));
        format!("{} {} {text}", self.elapsed(elapsed), self.dim(mark))
    }

    /// A line of output, among entries of a journal.
    pub(super) fn line_between(self, line: &Line, elapsed: Option<u64>) -> String {
        format!("{} {} {}", self.elapsed(elapsed), self.dim("│"), self.line(line))
    }

    /// A line of output.
    pub(super) fn line(self, line: &Line) -> String {
        let text = safe(&line.text);
        match line.level.as_deref() {
            None => text.into_owned(),
            Some(level @ ("error" | "warn")) => format!("{} {text}", self.red(&level.to_uppercase())),
            Some(level) => format!("{} {text}", self.dim(&level.to_uppercase())),
        }
    }

    fn elapsed(self, elapsed: Option<u64>) -> String {
        let text = elapsed.map(|ms| format!("{}.{:03}s", ms / 1000, ms % 1000)).unwrap_or_default();
        self.dim(&format!("{text:>9}"))
    }
}

/// Text of others without the characters that would do something to a terminal.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || c == '\t';
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if is_harmless(c) { c.to_string() } else { c.escape_default().to_string() };
    Cow::Owned(text.chars().map(show).collect())
}

/// The beginning of a text that may be long, in a line.
pub(super) fn short(text: &str, chars: usize) -> String {
    let text = safe(text);
    match text.char_indices().nth(chars) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Rows with their columns below one another. Cells are coloured after they have their width.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// A text, and how it is shown.
pub(super) struct Cell {
    text: String,
    shown: String,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Cell {
        let text = text.into();
        Cell { shown: text.clone(), text }
    }

    pub(super) fn painted(text: impl Into<String>, paint: impl FnOnce(&str) -> String) -> Cell {
        let text = text.into();
        Cell { shown: paint(&text), text }
    }
}

impl Table {
    pub(super) fn new(paint: Paint, titles: &[&str]) -> Table {
        Table { rows: vec![titles.iter().map(|title| Cell::painted(*title, |title| paint.dim(title))).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(&cell.shown);
                if column + 1 < row.len() {
                    let padding = widths[column] - cell.text.chars().count() + 2;
                    text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Names and values below one another.
pub(super) fn fields(paint: Paint, fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let field = |(name, value): &(&str, String)| format!("{}  {value}\n", paint.dim(&format!("{name:width$}")));
    fields.iter().map(field).collect()
}

/// A time, and how far away it is.
pub(super) fn when(at_ms: u64, now_ms: u64) -> String {
    let at = times::timestamp(at_ms);
    match at_ms.checked_sub(now_ms) {
        Some(left @ 1..) => format!("{at} (in {})", times::duration(left)),
        _ => format!("{at} ({} ago)", times::duration(now_ms - at_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_cannot_steer_a_terminal() {
        assert_eq!(safe("a\tb ü"), "a\tb ü");
        assert_eq!(safe("a\x1b[2Jb\u{9b}c"), "a\\u{1b}[2Jb\\u{9b}c");
    }

    #[test]
    fn columns_stand_below_one_another() {
        let mut table = Table::new(Paint::PLAIN, &["ID", "STATE"]);
        table.row(vec![Cell::plain("é-1"), Cell::plain("pending")]);
        assert_eq!(table.render(), "ID   STATE\né-1  pending\n");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöü", 2), "äö…");
    }
}
