//! The state that the machine works on: rows in memory over the tables.
//!
//! Three layers, the newest first: *slots* hold what was read or changed; the *frozen* cut is being written to the
//! tables; the *reader* is the tables as they were after the cut before. A row that isn't saved is always in a slot, and
//! entries that aren't saved are in a slot or in the frozen cut.
//!
//! The machine's view can't fail. A row that can't be read is latched in [`View::fault`]; after that nothing that came
//! of this view may be committed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use machine::{
    Component, Config, Digest, Entry, Id, Message, Output, Payload, Promise, PromiseKind, Schedule, Scope, Settings,
    State, is_needed,
};
use slab::Slab;

use super::cut::{Cut, Gone, Row, Saved};
use super::deadlines::Deadlines;
use super::encoding::{items, push};
use super::error::StoreError;
use super::outbox::Outbox;
use super::reader::Reader;
use super::schedules::Schedules;

/// Rows larger than this are read again when they are needed again, so that memory is bounded by the number of rows.
const KEPT_BYTES: usize = 16 << 10;
/// How many of them there are while they are read.
const LARGE: usize = 16;

/// Rows, new entries and deadlines in memory, over the tables.
pub struct View {
    slots: Slab<Slot>,
    /// Where the slot of a promise is. The hasher is one that nobody outside can aim at.
    places: HashMap<Id, usize, RandomState>,
    /// Slots that are not saved, in the order in which they were first changed.
    unsaved: Vec<usize>,
    /// Slots that were saved, the longest ago first; some are another promise's now, or unsaved again.
    clean: VecDeque<usize>,
    /// Slots of large rows that were read, the longest ago first.
    large: VecDeque<usize>,
    /// How many slots may be kept for reading.
    capacity: usize,
    frozen: Option<Frozen>,
    reader: Arc<Reader>,
    deadlines: Deadlines,
    /// The ids of promises that were removed since the last cut. Another promise can have one of them.
    gone: HashSet<Id>,
    components: HashMap<Digest, Arc<Component>>,
    current: BTreeMap<String, Digest>,
    exporters: HashMap<String, Digest>,
    installed: Vec<(Digest, Option<Component>)>,
    /// How many executions run on a component, or have run on it, and where that isn't saved.
    executions_on: HashMap<Digest, u64>,
    recounted: HashSet<Digest>,
    schedules: Schedules,
    settings: Settings,
    /// Everything was forgotten, and the tables don't know: nothing is to be read from them.
    cleared: bool,
    /// By scope, in the order of their revisions.
    configs: HashMap<Scope, Vec<Config>>,
    configured: Vec<(Scope, Config)>,
    partition: Option<u8>,
    outbox: Outbox,
    fault: Option<StoreError>,
}

struct Slot {
    promise: Arc<Promise>,
    saved: Option<Saved>,
    is_unsaved: bool,
    /// It was removed, which isn't saved.
    is_gone: bool,
    /// Its row in the frozen cut.
    frozen: Option<u32>,
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

/// What is being written. None of its slots is given up meanwhile.
struct Frozen {
    cut: Arc<Cut>,
    /// The slots of its rows, in their order.
    slots: Vec<usize>,
    /// Everything was forgotten since.
    is_stale: bool,
    gone: HashSet<Id>,
}

/// Where a journal is: in the tables, and behind that in memory. It can be read without the view.
pub struct JournalTail {
    reader: Arc<Reader>,
    number: Option<u64>,
    from: u32,
    frozen: Option<(Arc<Cut>, usize)>,
    fresh: Vec<u8>,
    fresh_first: u32,
}

impl View {
    /// Of these tables, keeping about so many rows in memory. `partition`: which part of all ids they have, if not all.
    pub fn new(reader: Reader, settings: Settings, capacity: usize, partition: Option<u8>) -> Result<View, StoreError> {
        let mut view = View {
            slots: Slab::new(),
            places: HashMap::default(),
            unsaved: Vec::new(),
            clean: VecDeque::new(),
            large: VecDeque::new(),
            capacity,
            frozen: None,
            deadlines: Deadlines::default(),
            gone: HashSet::new(),
            components: HashMap::new(),
            current: BTreeMap::new(),
            exporters: HashMap::new(),
            installed: Vec::new(),
            executions_on: reader.executions_on()?.into_iter().collect(),
            recounted: HashSet::new(),
            schedules: Schedules::new(reader.schedules()?),
            settings,
            cleared: false,
            configs: HashMap::new(),
            configured: Vec::new(),
            partition,
            outbox: Outbox::new(reader.mail()?),
            fault: None,
            reader: Arc::new(reader),
        };
        for component in view.reader.components()? {
            view.make_current(component);
        }
        for (scope, config) in view.reader.configs()? {
            view.configs.entry(scope).or_default().push(config);
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
        self.current.values().filter_map(|digest| self.components.get(digest)).map(|component| &**component)
    }

    /// The components that nothing needs any more.
    pub fn unneeded_components(&self) -> Vec<Arc<Component>> {
        self.components.values().filter(|component| !is_needed(self, &component.digest)).cloned().collect()
    }

    /// The current component that exports a function of this name, to be kept.
    pub fn shared_exporter(&self, function: &str) -> Option<Arc<Component>> {
        self.components.get(self.exporters.get(function)?).cloned()
    }

    /// Components with this name (the current one), this digest, or a digest that begins so.
    pub fn components_named<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Component> {
        let current = self.current.get(text);
        let is_named = move |component: &&Component| match current {
            Some(digest) => component.digest == *digest,
            None => !text.is_empty() && component.digest.to_string().starts_with(text),
        };
        self.components.values().map(|component| &**component).filter(is_named)
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
        // What was read from the tables may be of a promise that has changed since they were written.
        let (mut pending, mut over) = (Vec::with_capacity(due.len()), Vec::new());
        for (at, id) in due {
            match self.slot(&id) {
                Some(slot) if slot.promise.due_at().is_some_and(|at| at <= now) => pending.push(id),
                _ => over.push((at, id)),
            }
        }
        over.iter().for_each(|(at, id)| self.deadlines.disarm(*at, id));
        pending
    }

    /// The schedules whose next occurrence has come, at most `limit`.
    pub fn due_schedules(&self, now: u64, limit: usize) -> Vec<String> {
        self.schedules.due(now).take(limit).cloned().collect()
    }

    /// All schedules, by id, from one on.
    pub fn schedules_after(&self, id: &str) -> impl Iterator<Item = &Schedule> {
        self.schedules.after(id)
    }

    /// The partitions that there is something for.
    pub fn receivers(&self) -> Vec<u8> {
        self.outbox.mail().receivers()
    }

    /// The first messages to a partition, with their numbers, in order.
    pub fn mail(&self, to: u8, limit: usize) -> Vec<(u64, Message)> {
        self.outbox.mail().to(to).take(limit).map(|(number, message)| (number, message.clone())).collect()
    }

    /// The number of the last message to each partition.
    pub fn sent(&self) -> BTreeMap<u8, u64> {
        self.outbox.mail().sent.clone()
    }

    /// Whether each of these partitions has all messages up to a number.
    pub fn is_delivered(&self, sent: &BTreeMap<u8, u64>) -> bool {
        sent.iter().all(|(to, last)| self.outbox.mail().to(*to).next().is_none_or(|(first, _)| first > *last))
    }

    /// When to ask for due promises again.
    pub fn next_due(&self) -> u64 {
        self.deadlines.next().min(self.schedules.next())
    }

    /// Where the journal of an execution is, from an entry on.
    pub fn journal(&mut self, id: &Id, from: u32) -> Option<JournalTail> {
        let place = self.place(id)?;
        let slot = &self.slots[place];
        let fresh = slot.fresh.as_deref();
        Some(JournalTail {
            reader: self.reader.clone(),
            number: slot.saved.map(|saved| saved.number),
            from,
            frozen: self.frozen(slot),
            fresh: fresh.map_or(Vec::new(), |fresh| fresh.journal.clone()),
            fresh_first: fresh.map_or(0, |fresh| fresh.first_entry),
        })
    }

    /// The output of an execution, from a piece on.
    pub fn output(&mut self, id: &Id, from: u32) -> Result<Vec<Output>, StoreError> {
        let Some(place) = self.place(id) else { return Ok(Vec::new()) };
        let slot = &self.slots[place];
        let mut found = slot.saved.map_or(Ok(Vec::new()), |saved| self.reader.output(saved.number, from))?;
        let mut add = |run: &[u8], first: u32| {
            let pieces: Vec<Output> = items(run).expect("it was encoded by this process");
            found.extend(pieces.into_iter().skip(from.saturating_sub(first) as usize));
        };
        if let Some((cut, row)) = self.frozen(slot) {
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
        let mut cut = Cut {
            applied,
            now,
            rows: Vec::with_capacity(self.unsaved.len()),
            components: std::mem::take(&mut self.installed),
            executions_on: self
                .recounted
                .drain()
                .map(|digest| (digest, count_of(&self.executions_on, &digest)))
                .collect(),
            schedules: self.schedules.take_unsaved(),
            settings: self.settings.clone(),
            clear: self.cleared,
            configs: std::mem::take(&mut self.configured),
            gone: Vec::new(),
            mail: self.outbox.take_unsaved(),
        };
        let mut slots = Vec::with_capacity(self.unsaved.len());
        for place in std::mem::take(&mut self.unsaved) {
            if self.slots[place].is_gone {
                let slot = self.slots.remove(place);
                // What the tables don't have needn't be removed from them.
                let gone = slot.saved.map(|saved| (slot.promise.id.clone(), Gone::of(&slot.promise, saved)));
                cut.gone.extend(gone);
                continue;
            }
            slots.push(place);
            let slot = &mut self.slots[place];
            slot.is_unsaved = false;
            slot.frozen = Some(cut.rows.len() as u32);
            let fresh = slot.fresh.take().map_or_else(Fresh::default, |fresh| *fresh);
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
        let gone = std::mem::take(&mut self.gone);
        self.frozen = Some(Frozen { cut: cut.clone(), slots, is_stale: false, gone });
        cut
    }

    /// The frozen cut is in the tables now, which left this of its rows, and is read from here on.
    pub fn cut_was_written(&mut self, saved: Vec<Saved>, reader: Reader) {
        let frozen = self.frozen.take().expect("a cut was frozen");
        self.reader = Arc::new(reader);
        if frozen.is_stale {
            // What was written is of before everything was forgotten. The next cut forgets it.
            return;
        }
        self.cleared &= !frozen.cut.clear;
        for ((row, saved), place) in frozen.cut.rows.iter().zip(saved).zip(frozen.slots) {
            let slot = &mut self.slots[place];
            slot.frozen = None;
            slot.saved = Some(saved);
            if !slot.is_unsaved {
                if size(&slot.promise) > KEPT_BYTES {
                    self.give_up(place);
                } else {
                    self.clean.push_back(place);
                }
            }
            if let Some(at) = saved.due_at {
                self.deadlines.saved(at, &row.promise.id);
            }
        }
        self.shrink();
    }

    /// The tables are read through another reader from here on, and have the same as before.
    pub fn read_from(&mut self, reader: Reader) {
        self.reader = Arc::new(reader);
    }

    fn shrink(&mut self) {
        if self.clean.len() > 4 * self.capacity {
            // A row that changes often is in here as often.
            self.clean = self.slots.iter().filter(|(_, slot)| !slot.is_unsaved).map(|(place, _)| place).collect();
        }
        self.make_room();
        // A cut of a burst leaves room that nothing will need again.
        if self.slots.capacity() > 4 * self.slots.len().max(self.capacity) {
            let (places, mut moved) = (&mut self.places, HashMap::new());
            self.slots.compact(|slot, before, now| {
                moved.insert(before, now);
                if !slot.is_gone {
                    places.insert(slot.promise.id.clone(), now);
                }
                true
            });
            for place in self.unsaved.iter_mut().chain(&mut self.clean).chain(&mut self.large) {
                *place = moved.get(place).copied().unwrap_or(*place);
            }
            self.slots.shrink_to_fit();
            self.places.shrink_to_fit();
            self.unsaved.shrink_to_fit();
            self.clean.shrink_to_fit();
        }
    }

    /// Rows that are as in the tables go until there is room for another one. What is found not to be so now is among the
    /// clean ones again when it is.
    fn make_room(&mut self) {
        while self.large.len() > LARGE {
            let Some(place) = self.large.pop_front() else { break };
            self.give_up_clean(place);
        }
        // What was read last stays, however much is on its way to the tables.
        while self.slots.len() > self.capacity && self.clean.len() > self.capacity / 8 {
            let Some(place) = self.clean.pop_front() else { break };
            self.give_up_clean(place);
        }
    }

    fn give_up_clean(&mut self, place: usize) {
        let is_clean = |slot: &Slot| !slot.is_unsaved && slot.saved.is_some() && slot.frozen.is_none();
        if self.slots.get(place).is_some_and(is_clean) {
            self.give_up(place);
        }
    }

    fn give_up(&mut self, place: usize) {
        let slot = self.slots.remove(place);
        self.places.remove(&slot.promise.id);
    }

    fn keep(&mut self, id: Id, promise: Promise, saved: Option<Saved>) -> usize {
        let (is_unsaved, is_large) = (saved.is_none(), size(&promise) > KEPT_BYTES);
        let slot = Slot { promise: Arc::new(promise), saved, is_unsaved, is_gone: false, frozen: None, fresh: None };
        let place = self.slots.insert(slot);
        if is_unsaved {
            self.unsaved.push(place);
        } else {
            self.clean.push_back(place);
            self.large.extend(is_large.then_some(place));
        }
        let before = self.places.insert(id, place);
        debug_assert!(before.is_none(), "the machine creates only what isn't there");
        place
    }

    /// Where the slot of a promise is: one is made if the tables have the promise.
    fn place(&mut self, id: &Id) -> Option<usize> {
        if let Some(place) = self.places.get(id) {
            return Some(*place);
        }
        // The tables still have what was removed.
        let is_gone = self.gone.contains(id) || self.frozen.as_ref().is_some_and(|frozen| frozen.gone.contains(id));
        if self.cleared || is_gone {
            return None;
        }
        self.make_room();
        match self.reader.promise(id.as_str()) {
            Ok(Some((promise, saved))) => Some(self.keep(promise.id.clone(), promise, Some(saved))),
            Ok(None) => None,
            Err(error) => {
                self.latch(error);
                None
            }
        }
    }

    fn slot(&mut self, id: &Id) -> Option<&Slot> {
        let place = self.place(id)?;
        Some(&self.slots[place])
    }

    /// The slot of a promise that is about to change.
    fn slot_mut(&mut self, id: &Id) -> Option<&mut Slot> {
        let place = self.place(id)?;
        let slot = &mut self.slots[place];
        if !slot.is_unsaved {
            slot.is_unsaved = true;
            self.unsaved.push(place);
        }
        Some(slot)
    }

    /// The row of a slot in the frozen cut, if it has one.
    fn frozen(&self, slot: &Slot) -> Option<(Arc<Cut>, usize)> {
        Some((self.frozen.as_ref()?.cut.clone(), slot.frozen? as usize))
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
        self.components.insert(component.digest, Arc::new(component));
    }
}

fn count_of(counts: &HashMap<Digest, u64>, digest: &Digest) -> u64 {
    counts.get(digest).copied().unwrap_or(0)
}

/// What a promise carries, in bytes.
fn size(promise: &Promise) -> usize {
    let head = match &promise.kind {
        PromiseKind::Http { head, .. } => head.size(),
        _ => 0,
    };
    let foreign = promise.foreign.as_ref().map_or(0, |foreign| foreign.size());
    head + foreign + promise.param.len() + promise.outcome.as_ref().map_or(0, machine::Outcome::size)
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
        if let Some(at) = promise.due_at() {
            self.deadlines.arm(at, id.clone());
        }
        self.keep(id, promise, None);
    }

    fn remove(&mut self, id: &Id) {
        // Its slot stays until the next cut, which takes it out of the tables.
        let Some(slot) = self.slot_mut(id) else { return };
        slot.is_gone = true;
        slot.fresh = None;
        let promise = Arc::make_mut(&mut slot.promise);
        (promise.param, promise.outcome) = (Payload::new(), None);
        self.places.remove(id);
        self.gone.insert(id.clone());
    }

    fn arm(&mut self, at: u64, id: &Id) {
        self.deadlines.arm(at, id.clone());
    }

    fn disarm(&mut self, at: u64, id: &Id) {
        self.deadlines.disarm(at, id);
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
        self.components.get(digest).map(|component| &**component)
    }

    fn exporter(&self, function: &str) -> Option<&Component> {
        self.components.get(self.exporters.get(function)?).map(|component| &**component)
    }

    fn install(&mut self, component: Component) {
        self.installed.push((component.digest, Some(component.clone())));
        self.make_current(component);
    }

    fn is_current(&self, digest: &Digest) -> bool {
        self.components.get(digest).is_some_and(|component| self.current.get(&component.name) == Some(digest))
    }

    fn executions_on(&self, digest: &Digest) -> u64 {
        count_of(&self.executions_on, digest)
    }

    fn count_executions_on(&mut self, digest: &Digest, count: u64) {
        match count {
            0 => drop(self.executions_on.remove(digest)),
            count => drop(self.executions_on.insert(*digest, count)),
        }
        self.recounted.insert(*digest);
    }

    fn uninstall(&mut self, digest: &Digest) {
        self.components.remove(digest);
        self.installed.push((*digest, None));
    }

    fn schedule(&self, id: &str) -> Option<&Schedule> {
        self.schedules.get(id)
    }

    fn count_schedules(&self) -> usize {
        self.schedules.count()
    }

    fn put_schedule(&mut self, schedule: Schedule) {
        self.schedules.put(schedule);
    }

    fn remove_schedule(&mut self, id: &str) {
        self.schedules.remove(id);
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn clear(&mut self) {
        self.cleared = true;
        self.slots.clear();
        self.places.clear();
        self.unsaved.clear();
        self.gone.clear();
        self.clean.clear();
        self.large.clear();
        self.deadlines.clear();
        self.schedules.clear();
        self.recounted.extend(self.executions_on.drain().map(|(digest, _)| digest));
        if let Some(frozen) = &mut self.frozen {
            frozen.slots.clear();
            frozen.is_stale = true;
        }
    }

    fn config(&self, scope: &Scope, revision: u32) -> Option<&Config> {
        self.configs.get(scope)?.get(revision.checked_sub(1)? as usize)
    }

    fn revision(&self, scope: &Scope) -> u32 {
        self.configs.get(scope).map_or(0, |configs| configs.len() as u32)
    }

    fn configure(&mut self, scope: Scope, _: u32, config: Config) {
        self.configured.push((scope.clone(), config.clone()));
        self.configs.entry(scope).or_default().push(config);
    }

    fn partition(&self) -> Option<u8> {
        self.partition
    }

    fn post(&mut self, to: u8, message: Message) {
        self.outbox.post(to, message);
    }

    fn delivered(&mut self, to: u8, number: u64) -> bool {
        self.outbox.delivered(to, number)
    }

    fn received(&self, from: u8) -> u64 {
        self.outbox.mail().last_from(from)
    }

    fn receive(&mut self, from: u8, number: u64) {
        self.outbox.receive(from, number);
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
        if let Some((cut, row)) = &self.frozen {
            let row = &cut.rows[*row];
            add(&row.journal, row.first_entry);
        }
        add(&self.fresh, self.fresh_first);
        Ok(entries)
    }
}
