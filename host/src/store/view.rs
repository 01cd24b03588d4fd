//! The state that the machine works on: rows in memory over the tables.
//!
//! Three layers, the newest first: *slots* hold what was read or changed; the *frozen* cut is being written to the
//! tables; the *reader* is the tables as they were after the cut before. A row that isn't saved is always in a slot, and
//! entries that aren't saved are in a slot or in the frozen cut.
//!
//! The machine's view can't fail. A row that can't be read is latched in [`View::fault`]; after that nothing that came
//! of this view may be committed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use machine::{Component, Digest, Entry, Id, Output, Promise, State};

use super::deadlines::Deadlines;
use super::encoding::{items, push};
use super::tables::{Cut, Reader, Row, Saved, StoreError};

/// Rows larger than this are read again when they are needed again, so that memory is bounded by the number of rows.
const KEPT_BYTES: usize = 16 << 10;

/// Rows, new entries and deadlines in memory, over the tables.
pub struct View {
    slots: HashMap<Id, Slot>,
    /// Slots that are not saved, in the order in which they were first changed.
    unsaved: Vec<Id>,
    /// Slots that were saved, the longest ago first; some are gone or unsaved again.
    clean: VecDeque<Id>,
    /// How many slots may be kept for reading.
    capacity: usize,
    frozen: Option<Frozen>,
    reader: Arc<Reader>,
    deadlines: Deadlines,
    components: HashMap<Digest, Component>,
    current: BTreeMap<String, Digest>,
    exporters: HashMap<String, Digest>,
    installed: Vec<Component>,
    fault: Option<StoreError>,
}

struct Slot {
    promise: Arc<Promise>,
    saved: Option<Saved>,
    is_unsaved: bool,
    fresh: Option<Box<Fresh>>,
}

/// Entries and pieces of output that are not saved.
#[derive(Default)]
struct Fresh {
    journal: Vec<u8>,
    first_entry: u32,
    output: Vec<u8>,
    first_output: u32,
}

struct Frozen {
    cut: Arc<Cut>,
    rows: HashMap<Id, usize>,
}

/// Where a journal is: in the tables, and behind that in memory. It can be read without the view.
pub struct JournalTail {
    reader: Arc<Reader>,
    number: Option<u64>,
    from: u32,
    frozen: Option<Arc<Cut>>,
    frozen_row: usize,
    fresh: Vec<u8>,
    fresh_first: u32,
}

impl View {
    /// Of these tables, keeping about so many rows in memory.
    pub fn new(reader: Reader, capacity: usize) -> Result<View, StoreError> {
        let mut view = View {
            slots: HashMap::new(),
            unsaved: Vec::new(),
            clean: VecDeque::new(),
            capacity,
            frozen: None,
            deadlines: Deadlines::default(),
            components: HashMap::new(),
            current: BTreeMap::new(),
            exporters: HashMap::new(),
            installed: Vec::new(),
            fault: None,
            reader: Arc::new(reader),
        };
        for component in view.reader.components()? {
            view.make_current(component);
        }
        Ok(view)
    }

    /// Why nothing more may be made of this view.
    pub fn fault(&self) -> Option<&StoreError> {
        self.fault.as_ref()
    }

    /// The tables, as of the last cut that was written.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// How many promises are not saved.
    pub fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// A promise, as it is now.
    pub fn get(&mut self, id: &Id) -> Option<Arc<Promise>> {
        self.slot(id).map(|slot| slot.promise.clone())
    }

    /// The components that are current, by name.
    pub fn current_components(&self) -> impl Iterator<Item = &Component> {
        self.current.values().filter_map(|digest| self.components.get(digest))
    }

    /// Components with this name (the current one), this digest, or a digest that begins so.
    pub fn components_named<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Component> {
        let current = self.current.get(text);
        let is_named = move |component: &&Component| match current {
            Some(digest) => component.digest == *digest,
            None => !text.is_empty() && component.digest.to_string().starts_with(text),
        };
        self.components.values().filter(is_named)
    }

    /// Promises whose deadline has passed, the earliest first, at most `limit`.
    pub fn due(&mut self, now: u64, limit: usize) -> Vec<Id> {
        let due = match self.deadlines.due(now, limit, &self.reader) {
            Ok(due) => due,
            Err(error) => {
                self.latch(error);
                return Vec::new();
            }
        };
        // A deadline that was read from the tables may be of a promise that was settled since they were written.
        let (mut pending, mut settled) = (Vec::with_capacity(due.len()), Vec::new());
        for id in due {
            match self.slot(&id) {
                Some(slot) if slot.promise.outcome.is_none() => pending.push(id),
                Some(slot) => settled.push((slot.promise.timeout_at, id)),
                None => settled.push((now, id)),
            }
        }
        settled.iter().for_each(|(at, id)| self.deadlines.disarm(*at, id));
        pending
    }

    /// When to ask for due promises again.
    pub fn next_due(&self) -> u64 {
        self.deadlines.next()
    }

    /// Where the journal of an execution is, from an entry on.
    pub fn journal(&mut self, id: &Id, from: u32) -> Option<JournalTail> {
        let reader = self.reader.clone();
        let frozen = self.frozen.as_ref().and_then(|f| f.rows.get(id).map(|row| (f.cut.clone(), *row)));
        let slot = self.slot(id)?;
        let fresh = slot.fresh.as_deref();
        Some(JournalTail {
            reader,
            number: slot.saved.map(|saved| saved.number),
            from,
            frozen_row: frozen.as_ref().map_or(0, |(_, row)| *row),
            frozen: frozen.map(|(cut, _)| cut),
            fresh: fresh.map_or(Vec::new(), |fresh| fresh.journal.clone()),
            fresh_first: fresh.map_or(0, |fresh| fresh.first_entry),
        })
    }

    /// The output of an execution, from a piece on.
    pub fn output(&mut self, id: &Id, from: u32) -> Result<Vec<Output>, StoreError> {
        let reader = self.reader.clone();
        let frozen = self.frozen.as_ref().and_then(|f| f.rows.get(id).map(|row| (f.cut.clone(), *row)));
        let Some(slot) = self.slot(id) else { return Ok(Vec::new()) };
        let mut found = slot.saved.map_or(Ok(Vec::new()), |saved| reader.output(saved.number, from))?;
        let mut add = |run: &[u8], first: u32| {
            let pieces: Vec<Output> = items(run).expect("it was encoded by this process");
            found.extend(pieces.into_iter().skip(from.saturating_sub(first) as usize));
        };
        if let Some((cut, row)) = frozen {
            add(&cut.rows[row].output, cut.rows[row].first_output);
        }
        if let Some(fresh) = &slot.fresh {
            add(&fresh.output, fresh.first_output);
        }
        Ok(found)
    }

    /// Freeze what is not saved, at this position of the log, to be written. One cut at a time.
    pub fn cut(&mut self, applied: u64, now: u64) -> Arc<Cut> {
        assert!(self.frozen.is_none(), "the cut before has been written");
        let mut cut = Cut { applied, now, rows: Vec::with_capacity(self.unsaved.len()), components: Vec::new() };
        cut.components = std::mem::take(&mut self.installed);
        let mut rows = HashMap::with_capacity(self.unsaved.len());
        for id in std::mem::take(&mut self.unsaved) {
            let slot = self.slots.get_mut(&id).expect("what isn't saved is in a slot");
            slot.is_unsaved = false;
            let fresh = slot.fresh.take().map_or_else(Fresh::default, |fresh| *fresh);
            rows.insert(id, cut.rows.len());
            cut.rows.push(Row {
                promise: slot.promise.clone(),
                saved: slot.saved,
                journal: fresh.journal,
                first_entry: fresh.first_entry,
                output: fresh.output,
                first_output: fresh.first_output,
            });
        }
        let cut = Arc::new(cut);
        self.frozen = Some(Frozen { cut: cut.clone(), rows });
        cut
    }

    /// The frozen cut is in the tables now, which left this of its rows, and is read from here on.
    pub fn cut_was_written(&mut self, saved: Vec<Saved>, reader: Reader) {
        let frozen = self.frozen.take().expect("a cut was frozen");
        self.reader = Arc::new(reader);
        for (row, saved) in frozen.cut.rows.iter().zip(saved) {
            let id = &row.promise.id;
            let Some(slot) = self.slots.get_mut(id) else { continue };
            slot.saved = Some(saved);
            if !slot.is_unsaved {
                if size(&slot.promise) > KEPT_BYTES {
                    self.slots.remove(id);
                } else {
                    self.clean.push_back(id.clone());
                }
            }
            if saved.deadline {
                self.deadlines.saved(row.promise.timeout_at, id);
            }
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.clean.len() > 4 * self.capacity {
            // A row that changes often is in here as often.
            self.clean = self.slots.iter().filter(|(_, slot)| !slot.is_unsaved).map(|(id, _)| id.clone()).collect();
        }
        while self.slots.len() > self.capacity {
            let Some(id) = self.clean.pop_front() else { break };
            if self.slots.get(&id).is_some_and(|slot| !slot.is_unsaved && slot.saved.is_some()) {
                self.slots.remove(&id);
            }
        }
        // A cut of a burst leaves room that nothing will need again.
        if self.slots.capacity() > 4 * self.slots.len().max(self.capacity) {
            self.slots.shrink_to_fit();
            self.clean.shrink_to_fit();
            self.unsaved.shrink_to_fit();
        }
    }

    fn slot(&mut self, id: &Id) -> Option<&mut Slot> {
        if !self.slots.contains_key(id) {
            match self.reader.promise(id.as_str()) {
                Ok(Some((promise, saved))) => {
                    let id = promise.id.clone();
                    let slot = Slot { promise: Arc::new(promise), saved: Some(saved), is_unsaved: false, fresh: None };
                    self.clean.push_back(id.clone());
                    self.slots.insert(id, slot);
                }
                Ok(None) => return None,
                Err(error) => {
                    self.latch(error);
                    return None;
                }
            }
        }
        self.slots.get_mut(id)
    }

    /// The slot of a promise that is about to change.
    fn slot_mut(&mut self, id: &Id) -> Option<&mut Slot> {
        self.slot(id)?;
        let slot = self.slots.get_mut(id)?;
        if !slot.is_unsaved {
            slot.is_unsaved = true;
            self.unsaved.push(id.clone());
        }
        Some(slot)
    }

    fn latch(&mut self, error: StoreError) {
        self.fault.get_or_insert(error);
    }

    fn make_current(&mut self, component: Component) {
        if let Some(before) = self.current.insert(component.name.clone(), component.digest) {
            self.exporters.retain(|_, digest| *digest != before);
        }
        for function in &component.functions {
            self.exporters.insert(function.name.clone(), component.digest);
        }
        self.components.insert(component.digest, component);
    }
}

/// What a promise carries, in bytes.
fn size(promise: &Promise) -> usize {
    promise.param.len() + promise.outcome.as_ref().map_or(0, machine::Outcome::size)
}

impl State for View {
    fn promise(&mut self, id: &Id) -> Option<&Promise> {
        self.slot(id).map(|slot| &*slot.promise)
    }

    fn promise_mut(&mut self, id: &Id) -> Option<&mut Promise> {
        self.slot_mut(id).map(|slot| Arc::make_mut(&mut slot.promise))
    }

    fn insert(&mut self, promise: Promise) {
        let id = promise.id.clone();
        if promise.outcome.is_none() {
            self.deadlines.arm(promise.timeout_at, id.clone());
        }
        self.unsaved.push(id.clone());
        let slot = Slot { promise: Arc::new(promise), saved: None, is_unsaved: true, fresh: None };
        let before = self.slots.insert(id, slot);
        debug_assert!(before.is_none(), "the machine creates only what isn't there");
    }

    fn disarm(&mut self, timeout_at: u64, id: &Id) {
        self.deadlines.disarm(timeout_at, id);
    }

    fn append(&mut self, execution: &Id, entry: &Entry) {
        let Some(slot) = self.slot_mut(execution) else { return };
        let entries = slot.promise.execution.as_ref().map_or(0, |e| e.entries);
        let fresh = slot.fresh.get_or_insert_with(Box::default);
        if fresh.journal.is_empty() {
            fresh.first_entry = entries.saturating_sub(1);
        }
        push(&mut fresh.journal, entry);
    }

    fn write(&mut self, execution: &Id, output: Output) {
        let Some(slot) = self.slot_mut(execution) else { return };
        let outputs = slot.promise.execution.as_ref().map_or(0, |e| e.outputs);
        let fresh = slot.fresh.get_or_insert_with(Box::default);
        if fresh.output.is_empty() {
            fresh.first_output = outputs.saturating_sub(1);
        }
        push(&mut fresh.output, &output);
    }

    fn component(&self, digest: &Digest) -> Option<&Component> {
        self.components.get(digest)
    }

    fn exporter(&self, function: &str) -> Option<&Component> {
        self.components.get(self.exporters.get(function)?)
    }

    fn install(&mut self, component: Component) {
        self.installed.push(component.clone());
        self.make_current(component);
    }
}

impl JournalTail {
    /// The entries.
    pub fn read(self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = match self.number {
            Some(number) => self.reader.journal(number, self.from)?,
            None => Vec::new(),
        };
        let mut add = |run: &[u8], first: u32| {
            let run: Vec<Entry> = items(run).expect("it was encoded by this process");
            entries.extend(run.into_iter().skip(self.from.saturating_sub(first) as usize));
        };
        if let Some(cut) = &self.frozen {
            let row = &cut.rows[self.frozen_row];
            add(&row.journal, row.first_entry);
        }
        add(&self.fresh, self.fresh_first);
        Ok(entries)
    }
}
