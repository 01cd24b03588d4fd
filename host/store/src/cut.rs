//! A cut of the state: what has changed since the last one, and how it is written to the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Component, Config, Digest, Id, Message, Promise, PromiseKind, Schedule, Scope, Settings, TaskState};
use redb::{Database, Durability, ReadableTableMetadata, Table, WriteTransaction};

use super::encoding::{encode, seal};
use super::error::{StoreError, failed};
use super::tables::{
    COMPONENTS, CONFIGS, CURRENT, DEADLINES, EXECUTIONS_ON, IDS, JOURNALS, META, Meta, OUTBOX, OUTPUTS, PROMISES,
    RECEIVED, REQUESTS, RUNNABLE, SCHEDULES, SENT, SETTLED, Settled,
};

const WRITING: &str = "writing to the store";

/// What has changed in the state since the last cut, all of it at one position of the log.
#[derive(Debug, Default)]
pub struct Cut {
    /// That position.
    pub applied: u64,
    /// The time of the record there.
    pub now: u64,
    /// The promises that changed.
    pub rows: Vec<Row>,
    /// The components that were installed, in order. None: it is no more.
    pub components: Vec<(Digest, Option<Component>)>,
    /// How many executions there are on components now, where that has changed.
    pub executions_on: Vec<(Digest, u64)>,
    /// The schedules that changed, by id. None: it is no more.
    pub schedules: BTreeMap<String, Option<Schedule>>,
    /// As they are now.
    pub settings: Settings,
    /// Whether the promises and schedules that the tables have are to go first.
    pub clear: bool,
    /// New revisions of configurations, in order.
    pub configs: Vec<(Scope, Config)>,
    /// The promises that were removed. It comes before `rows`, where another one can have the same id.
    pub gone: Vec<(Id, Gone)>,
    /// What changed of the mail to and from other partitions.
    pub mail: MailCut,
}

/// What has changed of a partition's mail since the last cut.
#[derive(Debug, Default)]
pub struct MailCut {
    /// Messages that are new, by receiver and number.
    pub posted: BTreeMap<(u8, u64), Arc<Message>>,
    /// Up to which number receivers have had theirs.
    pub delivered: BTreeMap<u8, u64>,
    /// The numbers of the last messages to others, where they changed.
    pub sent: BTreeMap<u8, u64>,
    /// The numbers of the last messages from others, where they changed.
    pub received: BTreeMap<u8, u64>,
}

/// A promise that was removed.
#[derive(Debug)]
pub struct Gone {
    /// What the tables have of it.
    saved: Saved,
    /// Its function.
    function: String,
    /// Whether it has a journal, and wrote anything.
    has_journal: bool,
    has_output: bool,
}

impl Gone {
    pub(super) fn of(promise: &Promise, saved: Saved) -> Gone {
        Gone {
            saved,
            function: promise.function().unwrap_or_default().to_owned(),
            has_journal: promise.execution.as_ref().is_some_and(|execution| execution.entries > 0),
            has_output: promise.execution.as_ref().is_some_and(|execution| execution.outputs > 0),
        }
    }

    /// Where it is listed as a root that has ended, if it is.
    fn settled(&self) -> Option<Settled<'_>> {
        Some((self.function.as_str(), self.saved.settled?, self.saved.number))
    }
}

/// A promise that has changed.
#[derive(Debug)]
pub struct Row {
    /// As it is now.
    pub promise: Arc<Promise>,
    /// What the tables have of it. None: nothing.
    pub saved: Option<Saved>,
    /// The new entries of its journal, encoded one after another.
    pub journal: Vec<u8>,
    /// The index of the first of them.
    pub first_entry: u32,
    /// The new pieces of its output, encoded one after another.
    pub output: Vec<u8>,
    /// The index of the first of them.
    pub first_output: u32,
}

/// What the tables have of a promise, beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Under which number.
    pub number: u64,
    /// When something happens to it by itself.
    pub due_at: Option<u64>,
    /// Whether it is listed as having something to do.
    pub runnable: bool,
    /// Whether it is listed as a request without an answer.
    pub request: bool,
    /// Since when it is listed as a root that has ended, or from when on.
    pub settled: Option<u64>,
}

impl Cut {
    /// About how much memory it has.
    pub(super) fn bytes(&self) -> usize {
        let value =
            |promise: &Promise| promise.param.len() + promise.outcome.as_ref().map_or(0, machine::Outcome::size);
        let row = |row: &Row| 500 + row.journal.len() + row.output.len() + value(&row.promise);
        self.rows.iter().map(row).sum::<usize>() + self.gone.len() * 100
    }
}

impl Saved {
    pub(super) fn of(number: u64, promise: &Promise) -> Saved {
        let runnable = promise.execution.as_ref().is_some_and(|e| e.task.state == TaskState::Runnable);
        let request = promise.outcome.is_none() && matches!(promise.kind, PromiseKind::Http { .. });
        let settled = promise.ends_at().filter(|_| promise.parent().is_none());
        Saved { number, due_at: promise.due_at(), runnable, request, settled }
    }

    /// Of a promise that has a number, and nothing else yet.
    fn nothing(number: u64) -> Saved {
        Saved { number, due_at: None, runnable: false, request: false, settled: None }
    }
}

/// Write a cut, durably and all at once. What the tables have of its rows afterwards, in their order, and the new header.
pub(super) fn write_cut(database: &Database, cut: &Cut, before: &Meta) -> Result<(Vec<Saved>, Meta), StoreError> {
    let mut transaction = database.begin_write().map_err(failed(WRITING))?;
    transaction.set_durability(Durability::Immediate).map_err(failed(WRITING))?;
    transaction.set_quick_repair(true);
    let (saved, numbered) = write_promises(&transaction, cut, before.numbered)?;
    write_components(&transaction, cut)?;
    write_schedules(&transaction, cut)?;
    write_configs(&transaction, cut)?;
    write_mail(&transaction, &cut.mail)?;
    let settings = cut.settings.clone();
    let meta = Meta { applied: cut.applied, now: cut.now, numbered, identity: before.identity, settings };
    write_meta(&transaction, &meta)?;
    transaction.commit().map_err(failed(WRITING))?;
    Ok((saved, meta))
}

/// Write the header, and make durable what was written before.
pub(super) fn put_meta(database: &Database, meta: &Meta) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(failed(WRITING))?;
    transaction.set_quick_repair(true);
    write_meta(&transaction, meta)?;
    transaction.commit().map_err(failed(WRITING))
}

fn write_meta(transaction: &WriteTransaction, meta: &Meta) -> Result<(), StoreError> {
    let mut table = transaction.open_table(META).map_err(failed(WRITING))?;
    table.insert("meta", encode(meta).as_slice()).map_err(failed(WRITING))?;
    Ok(())
}

/// What the tables have of the cut's rows afterwards, and the last number that was given.
fn write_promises(
    transaction: &WriteTransaction,
    cut: &Cut,
    mut numbered: u64,
) -> Result<(Vec<Saved>, u64), StoreError> {
    let mut promises = Promises::open(transaction)?;
    if cut.clear {
        promises.clear()?;
    }
    promises.remove(&cut.gone)?;
    let mut saved = Vec::with_capacity(cut.rows.len());
    for row in &cut.rows {
        let before = match row.saved {
            Some(saved) => saved,
            None => {
                numbered += 1;
                promises.number(&row.promise.id, numbered)?
            }
        };
        saved.push(promises.put(row, before)?);
    }
    Ok((saved, numbered))
}

/// The tables in which promises are.
struct Promises<'a> {
    ids: Table<'a, &'static str, u64>,
    promises: Table<'a, u64, &'static [u8]>,
    journals: Table<'a, (u64, u32), &'static [u8]>,
    outputs: Table<'a, (u64, u32), &'static [u8]>,
    deadlines: Table<'a, (u64, u64), &'static str>,
    runnable: Table<'a, u64, &'static str>,
    requests: Table<'a, u64, &'static str>,
    settled: Table<'a, Settled<'static>, &'static str>,
}

impl<'a> Promises<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Promises<'a>, StoreError> {
        Ok(Promises {
            ids: transaction.open_table(IDS).map_err(failed(WRITING))?,
            promises: transaction.open_table(PROMISES).map_err(failed(WRITING))?,
            journals: transaction.open_table(JOURNALS).map_err(failed(WRITING))?,
            outputs: transaction.open_table(OUTPUTS).map_err(failed(WRITING))?,
            deadlines: transaction.open_table(DEADLINES).map_err(failed(WRITING))?,
            runnable: transaction.open_table(RUNNABLE).map_err(failed(WRITING))?,
            requests: transaction.open_table(REQUESTS).map_err(failed(WRITING))?,
            settled: transaction.open_table(SETTLED).map_err(failed(WRITING))?,
        })
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.ids.retain(|_, _| false).map_err(failed(WRITING))?;
        self.promises.retain(|_, _| false).map_err(failed(WRITING))?;
        self.journals.retain(|_, _| false).map_err(failed(WRITING))?;
        self.outputs.retain(|_, _| false).map_err(failed(WRITING))?;
        self.deadlines.retain(|_, _| false).map_err(failed(WRITING))?;
        self.runnable.retain(|_, _| false).map_err(failed(WRITING))?;
        self.requests.retain(|_, _| false).map_err(failed(WRITING))?;
        self.settled.retain(|_, _| false).map_err(failed(WRITING))
    }

    /// What is removed together was mostly made together, and so has numbers that follow each other: where rows are in the
    /// order of the numbers, they go run by run.
    fn remove(&mut self, gone: &[(Id, Gone)]) -> Result<(), StoreError> {
        let mut by_number: Vec<&(Id, Gone)> = gone.iter().collect();
        by_number.sort_unstable_by_key(|(_, gone)| gone.saved.number);
        let number = |of: &&(Id, Gone)| of.1.saved.number;
        for run in by_number.chunk_by(|one, next| number(one) + 1 == number(next)) {
            let (first, last) = (number(&run[0]), number(&run[run.len() - 1]));
            self.promises.retain_in(first..=last, |_, _| false).map_err(failed(WRITING))?;
            let all = (first, 0)..=(last, u32::MAX);
            if run.iter().any(|(_, gone)| gone.has_journal) {
                self.journals.retain_in(all.clone(), |_, _| false).map_err(failed(WRITING))?;
            }
            if run.iter().any(|(_, gone)| gone.has_output) {
                self.outputs.retain_in(all, |_, _| false).map_err(failed(WRITING))?;
            }
        }
        let mut by_id = by_number;
        by_id.sort_unstable_by_key(|(id, _)| id.as_str());
        for (id, gone) in &by_id {
            self.ids.remove(id.as_str()).map_err(failed(WRITING))?;
            // It was settled before it was removed, and may have been saved before it was settled.
            self.list(id.as_str(), gone.saved, Saved::nothing(gone.saved.number))?;
        }
        let mut settled: Vec<Settled> = by_id.iter().filter_map(|(_, gone)| gone.settled()).collect();
        settled.sort_unstable();
        for key in settled {
            self.settled.remove(key).map_err(failed(WRITING))?;
        }
        Ok(())
    }

    /// Give a number to a promise that has none.
    fn number(&mut self, id: &Id, number: u64) -> Result<Saved, StoreError> {
        self.ids.insert(id.as_str(), number).map_err(failed(WRITING))?;
        Ok(Saved::nothing(number))
    }

    fn put(&mut self, row: &Row, before: Saved) -> Result<Saved, StoreError> {
        let (promise, number) = (&*row.promise, before.number);
        self.promises.insert(number, encode(promise).as_slice()).map_err(failed(WRITING))?;
        if !row.journal.is_empty() {
            let key = (number, row.first_entry);
            self.journals.insert(key, seal(&row.journal).as_slice()).map_err(failed(WRITING))?;
        }
        if !row.output.is_empty() {
            let key = (number, row.first_output);
            self.outputs.insert(key, seal(&row.output).as_slice()).map_err(failed(WRITING))?;
        }
        let now = Saved::of(number, promise);
        self.list(promise.id.as_str(), before, now)?;
        if now.settled != before.settled {
            let key = |at| (promise.function().unwrap_or_default(), at, number);
            if let Some(at) = before.settled {
                self.settled.remove(key(at)).map_err(failed(WRITING))?;
            }
            if let Some(at) = now.settled {
                self.settled.insert(key(at), promise.id.as_str()).map_err(failed(WRITING))?;
            }
        }
        Ok(now)
    }

    /// Have a promise in those lists in which it is now, and no longer in those in which it was.
    fn list(&mut self, id: &str, before: Saved, now: Saved) -> Result<(), StoreError> {
        let number = now.number;
        if before.due_at != now.due_at {
            if let Some(at) = before.due_at {
                self.deadlines.remove((at, number)).map_err(failed(WRITING))?;
            }
            if let Some(at) = now.due_at {
                self.deadlines.insert((at, number), id).map_err(failed(WRITING))?;
            }
        }
        for (table, before, now) in
            [(&mut self.runnable, before.runnable, now.runnable), (&mut self.requests, before.request, now.request)]
        {
            match (before, now) {
                (false, true) => drop(table.insert(number, id).map_err(failed(WRITING))?),
                (true, false) => drop(table.remove(number).map_err(failed(WRITING))?),
                _ => {}
            }
        }
        Ok(())
    }
}

fn write_components(transaction: &WriteTransaction, cut: &Cut) -> Result<(), StoreError> {
    if !cut.components.is_empty() {
        let mut components = transaction.open_table(COMPONENTS).map_err(failed(WRITING))?;
        let mut current = transaction.open_table(CURRENT).map_err(failed(WRITING))?;
        for (digest, component) in &cut.components {
            let digest = digest.0.as_slice();
            let Some(component) = component else {
                components.remove(digest).map_err(failed(WRITING))?;
                continue;
            };
            components.insert(digest, encode(component).as_slice()).map_err(failed(WRITING))?;
            current.insert(component.name.as_str(), digest).map_err(failed(WRITING))?;
        }
    }
    if !cut.executions_on.is_empty() {
        let mut executions_on = transaction.open_table(EXECUTIONS_ON).map_err(failed(WRITING))?;
        for (digest, count) in &cut.executions_on {
            match *count {
                0 => drop(executions_on.remove(digest.0.as_slice()).map_err(failed(WRITING))?),
                count => drop(executions_on.insert(digest.0.as_slice(), count).map_err(failed(WRITING))?),
            }
        }
    }
    Ok(())
}

fn write_schedules(transaction: &WriteTransaction, cut: &Cut) -> Result<(), StoreError> {
    if !cut.clear && cut.schedules.is_empty() {
        return Ok(());
    }
    let mut schedules = transaction.open_table(SCHEDULES).map_err(failed(WRITING))?;
    if cut.clear {
        schedules.retain(|_, _| false).map_err(failed(WRITING))?;
    }
    for (id, schedule) in &cut.schedules {
        match schedule {
            Some(schedule) => {
                drop(schedules.insert(id.as_str(), encode(schedule).as_slice()).map_err(failed(WRITING))?)
            }
            None => drop(schedules.remove(id.as_str()).map_err(failed(WRITING))?),
        }
    }
    Ok(())
}

fn write_configs(transaction: &WriteTransaction, cut: &Cut) -> Result<(), StoreError> {
    if cut.configs.is_empty() {
        return Ok(());
    }
    let mut configs = transaction.open_table(CONFIGS).map_err(failed(WRITING))?;
    let known = configs.len().map_err(failed(WRITING))?;
    for (number, config) in (known..).zip(&cut.configs) {
        configs.insert(number, encode(config).as_slice()).map_err(failed(WRITING))?;
    }
    Ok(())
}

fn write_mail(transaction: &WriteTransaction, mail: &MailCut) -> Result<(), StoreError> {
    let MailCut { posted, delivered, sent, received } = mail;
    if !delivered.is_empty() || !posted.is_empty() {
        let mut outbox = transaction.open_table(OUTBOX).map_err(failed(WRITING))?;
        for (to, number) in delivered {
            outbox.retain_in((*to, 0)..=(*to, *number), |_, _| false).map_err(failed(WRITING))?;
        }
        for (key, message) in posted {
            outbox.insert(key, encode(&**message).as_slice()).map_err(failed(WRITING))?;
        }
    }
    for (numbers, table) in [(sent, SENT), (received, RECEIVED)].into_iter().filter(|(numbers, _)| !numbers.is_empty())
    {
        let mut table = transaction.open_table(table).map_err(failed(WRITING))?;
        for (partition, number) in numbers {
            table.insert(partition, number).map_err(failed(WRITING))?;
        }
    }
    Ok(())
}
