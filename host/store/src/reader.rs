//! The tables at one moment, and all that is asked of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use machine::{Component, Config, Digest, Entry, Id, Mail, Output, Promise, Schedule, Scope};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::cut::Saved;
use super::encoding::{Corrupt, decode, items, unseal};
use super::error::{StoreError, failed};
use super::tables::{
    COMPONENTS, CONFIGS, CURRENT, DEADLINES, EXECUTIONS_ON, IDS, JOURNALS, OUTBOX, OUTPUTS, PROMISES, RECEIVED,
    REQUESTS, RUNNABLE, SCHEDULES, SENT, SETTLED, Settled,
};

/// The tables at one moment, to read.
pub struct Reader {
    _database: Arc<Database>,
    components: ReadOnlyTable<&'static [u8], &'static [u8]>,
    current: ReadOnlyTable<&'static str, &'static [u8]>,
    ids: ReadOnlyTable<&'static str, u64>,
    promises: ReadOnlyTable<u64, &'static [u8]>,
    journals: ReadOnlyTable<(u64, u32), &'static [u8]>,
    outputs: ReadOnlyTable<(u64, u32), &'static [u8]>,
    deadlines: ReadOnlyTable<(u64, u64), &'static str>,
    runnable: ReadOnlyTable<u64, &'static str>,
    schedules: ReadOnlyTable<&'static str, &'static [u8]>,
    requests: ReadOnlyTable<u64, &'static str>,
    configs: ReadOnlyTable<u64, &'static [u8]>,
    settled: ReadOnlyTable<Settled<'static>, &'static str>,
    outbox: ReadOnlyTable<(u8, u64), &'static [u8]>,
    sent: ReadOnlyTable<u8, u64>,
    received: ReadOnlyTable<u8, u64>,
    executions_on: ReadOnlyTable<&'static [u8], u64>,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next part begins. None: there is none.
    pub next: Option<u64>,
}

const READING: &str = "reading from the store";

/// The bounds of the ids below one.
fn below(id: &Id) -> (String, String) {
    let separator = if id.is_root() { b':' } else { b'.' };
    // '/' and ';' are the characters after '.' and ':'.
    (format!("{id}{}", char::from(separator)), format!("{id}{}", char::from(separator + 1)))
}

impl Reader {
    pub(super) fn new(database: &Arc<Database>) -> Result<Reader, StoreError> {
        let transaction = database.begin_read().map_err(failed(READING))?;
        Ok(Reader {
            _database: database.clone(),
            components: transaction.open_table(COMPONENTS).map_err(failed(READING))?,
            current: transaction.open_table(CURRENT).map_err(failed(READING))?,
            ids: transaction.open_table(IDS).map_err(failed(READING))?,
            promises: transaction.open_table(PROMISES).map_err(failed(READING))?,
            journals: transaction.open_table(JOURNALS).map_err(failed(READING))?,
            outputs: transaction.open_table(OUTPUTS).map_err(failed(READING))?,
            deadlines: transaction.open_table(DEADLINES).map_err(failed(READING))?,
            runnable: transaction.open_table(RUNNABLE).map_err(failed(READING))?,
            schedules: transaction.open_table(SCHEDULES).map_err(failed(READING))?,
            requests: transaction.open_table(REQUESTS).map_err(failed(READING))?,
            configs: transaction.open_table(CONFIGS).map_err(failed(READING))?,
            settled: transaction.open_table(SETTLED).map_err(failed(READING))?,
            outbox: transaction.open_table(OUTBOX).map_err(failed(READING))?,
            sent: transaction.open_table(SENT).map_err(failed(READING))?,
            received: transaction.open_table(RECEIVED).map_err(failed(READING))?,
            executions_on: transaction.open_table(EXECUTIONS_ON).map_err(failed(READING))?,
        })
    }

    /// A promise, and what else the tables have of it.
    pub fn promise(&self, id: &str) -> Result<Option<(Promise, Saved)>, StoreError> {
        let Some(number) = self.ids.get(id).map_err(failed(READING))? else { return Ok(None) };
        let number = number.value();
        let damaged = |error| StoreError::Row { table: "promise", key: id.into(), error };
        let row = self.promises.get(number).map_err(failed(READING))?;
        let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
        let promise: Promise = decode(row.value()).map_err(damaged)?;
        if promise.id.as_str() != id {
            return Err(damaged(Corrupt::Content(format!("it is that of {:?}", promise.id))));
        }
        let saved = Saved::of(number, &promise);
        Ok(Some((promise, saved)))
    }

    /// The entries of a journal from an index on, as far as the tables have them.
    pub fn journal(&self, number: u64, from: u32) -> Result<Vec<Entry>, StoreError> {
        runs(&self.journals, "journal", number, from)
    }

    /// The pieces of an output from an index on, as far as the tables have them.
    pub fn output(&self, number: u64, from: u32) -> Result<Vec<Output>, StoreError> {
        runs(&self.outputs, "output", number, from)
    }

    /// Promises from the newest to the oldest, of numbers below `before`: those that `keep` picks, at most `limit`, of
    /// at most `scan` that are looked at.
    pub fn newest(
        &self,
        before: u64,
        limit: usize,
        scan: usize,
        mut keep: impl FnMut(&Promise) -> bool,
    ) -> Result<Page<Promise>, StoreError> {
        let mut items = Vec::new();
        let rows = self.promises.range(..before).map_err(failed(READING))?.rev();
        for (scanned, row) in rows.enumerate() {
            let (number, row) = row.map_err(failed(READING))?;
            if items.len() == limit || scanned == scan {
                return Ok(Page { items, next: Some(number.value() + 1) });
            }
            let promise: Promise = decode(row.value()).map_err(|error| StoreError::Row {
                table: "promise",
                key: number.value().to_string(),
                error,
            })?;
            if keep(&promise) {
                items.push(promise);
            }
        }
        Ok(Page { items, next: None })
    }

    /// All promises with their numbers, from the oldest to the newest.
    pub(super) fn each_promise<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(u64, Promise) -> Result<(), E>,
    ) -> Result<(), E> {
        for row in self.promises.iter().map_err(failed(READING))? {
            let (number, row) = row.map_err(failed(READING))?;
            let number = number.value();
            let damaged = |error| StoreError::Row { table: "promise", key: number.to_string(), error };
            each(number, decode(row.value()).map_err(damaged)?)?;
        }
        Ok(())
    }

    /// Promises after an id, in the order of the ids: those that `keep` picks, at most `limit`, of at most `scan` that are
    /// looked at. And the id after which the rest begins.
    pub fn by_id(
        &self,
        after: &str,
        limit: usize,
        scan: usize,
        mut keep: impl FnMut(&Promise) -> bool,
    ) -> Result<(Vec<Promise>, Option<String>), StoreError> {
        let (mut found, mut last) = (Vec::new(), None);
        let range = (Bound::Excluded(after), Bound::Unbounded);
        for (scanned, row) in self.ids.range::<&str>(range).map_err(failed(READING))?.enumerate() {
            let (id, number) = row.map_err(failed(READING))?;
            if found.len() == limit || scanned == scan {
                return Ok((found, last));
            }
            let damaged = |error| StoreError::Row { table: "promise", key: id.value().into(), error };
            let row = self.promises.get(number.value()).map_err(failed(READING))?;
            let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
            let promise: Promise = decode(row.value()).map_err(damaged)?;
            last = Some(id.value().to_owned());
            if keep(&promise) {
                found.push(promise);
            }
        }
        Ok((found, None))
    }

    /// A promise and all those below it in its call tree, at most `limit`. `true`: there are more.
    pub fn tree(&self, id: &Id, limit: usize) -> Result<(Vec<Promise>, bool), StoreError> {
        let mut tree = Vec::new();
        let (from, end) = below(id);
        let own = self.ids.get(id.as_str()).map_err(failed(READING))?.map(|number| number.value());
        let below = self.ids.range(from.as_str()..end.as_str()).map_err(failed(READING))?;
        let below = below.map(|row| row.map(|(_, number)| number.value()));
        for number in own.map(Ok).into_iter().chain(below) {
            let number = number.map_err(failed(READING))?;
            if tree.len() == limit {
                return Ok((tree, true));
            }
            let damaged = |error| StoreError::Row { table: "promise", key: number.to_string(), error };
            let row = self.promises.get(number).map_err(failed(READING))?;
            let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
            tree.push(decode(row.value()).map_err(damaged)?);
        }
        Ok((tree, false))
    }

    /// When something happens to promises by itself, from a time on, the earliest first. All those of the last millisecond that is in the list are in it,
    /// so that there can be more than `limit`.
    pub fn deadlines(&self, from: u64, limit: usize) -> Result<Vec<(u64, String)>, StoreError> {
        let mut deadlines: Vec<(u64, String)> = Vec::new();
        for row in self.deadlines.range((from, 0)..).map_err(failed(READING))? {
            let (key, id) = row.map_err(failed(READING))?;
            let at = key.value().0;
            if deadlines.len() >= limit && deadlines.last().is_some_and(|(last, _)| *last != at) {
                break;
            }
            deadlines.push((at, id.value().to_owned()));
        }
        Ok(deadlines)
    }

    /// The executions that have something to do.
    pub fn runnable(&self) -> Result<Vec<String>, StoreError> {
        ids(&self.runnable)
    }

    /// The requests that have no answer.
    pub fn requests(&self) -> Result<Vec<String>, StoreError> {
        ids(&self.requests)
    }

    /// All revisions of all configurations, those of each scope in order.
    pub fn configs(&self) -> Result<Vec<(Scope, Config)>, StoreError> {
        let mut configs = Vec::new();
        for row in self.configs.iter().map_err(failed(READING))? {
            let (key, row) = row.map_err(failed(READING))?;
            let damaged = |error| StoreError::Row { table: "configuration", key: key.value().to_string(), error };
            configs.push(decode(row.value()).map_err(damaged)?);
        }
        Ok(configs)
    }

    /// All schedules.
    pub fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        let mut schedules = Vec::new();
        for row in self.schedules.iter().map_err(failed(READING))? {
            let (id, row) = row.map_err(failed(READING))?;
            schedules.push(decode(row.value()).map_err(|error| StoreError::Row {
                table: "schedule",
                key: id.value().into(),
                error,
            })?);
        }
        Ok(schedules)
    }

    /// The name after this one, in their order, of a function of which there are roots that were settled.
    pub fn settled_function(&self, after: Option<&str>) -> Result<Option<String>, StoreError> {
        let mut rows = match after {
            None => self.settled.range::<Settled>(..),
            Some(name) => self.settled.range((name, u64::MAX, u64::MAX)..),
        }
        .map_err(failed(READING))?;
        Ok(rows.next().transpose().map_err(failed(READING))?.map(|(key, _)| key.value().0.to_owned()))
    }

    /// Roots of a function that were settled until a time, the longest ago first: those after a time and number, with
    /// their own.
    pub fn settled(
        &self,
        function: &str,
        after: (u64, u64),
        until: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64, String)>, StoreError> {
        let (from, to) = ((function, after.0, after.1 + 1), (function, until, u64::MAX));
        if from > to {
            return Ok(Vec::new());
        }
        let rows = self.settled.range(from..to).map_err(failed(READING))?.take(limit);
        rows.map(|row| {
            let (key, id) = row.map_err(failed(READING))?;
            let (_, at, number) = key.value();
            Ok((at, number, id.value().to_owned()))
        })
        .collect()
    }

    /// The ids of a tree, each after those below it, in parts of at most so many.
    pub fn upwards(&self, root: &Id, part: usize, mut each: impl FnMut(Vec<Id>) -> bool) -> Result<(), StoreError> {
        let (below, end) = below(root);
        let rows = self.ids.range(below.as_str()..end.as_str()).map_err(failed(READING))?.rev();
        let mut ids = Vec::new();
        for row in rows {
            let (id, _) = row.map_err(failed(READING))?;
            ids.extend(Id::parse(id.value()));
            if ids.len() == part && !each(std::mem::take(&mut ids)) {
                return Ok(());
            }
        }
        ids.push(root.clone());
        each(ids);
        Ok(())
    }

    /// What is on its way to other partitions, and what came from them.
    pub fn mail(&self) -> Result<Mail, StoreError> {
        let mut mail = Mail { sent: numbers(&self.sent)?, received: numbers(&self.received)?, ..Mail::default() };
        for row in self.outbox.iter().map_err(failed(READING))? {
            let (key, row) = row.map_err(failed(READING))?;
            let (to, number) = key.value();
            let damaged = |error| StoreError::Row { table: "message", key: format!("{to}/{number}"), error };
            mail.outbox.insert((to, number), Arc::new(decode(row.value()).map_err(damaged)?));
        }
        Ok(mail)
    }

    /// How many promises there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.promises.len().map_err(failed(READING))
    }

    /// How many executions there are by what they run on, or ran on.
    pub fn executions_on(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let rows = self.executions_on.iter().map_err(failed(READING))?;
        rows.map(|row| {
            let (digest, count) = row.map_err(failed(READING))?;
            let digest = digest.value().try_into().map_err(|_| StoreError::Row {
                table: "executions of a component",
                key: format!("{:?}", digest.value()),
                error: Corrupt::Content("it is not that of a component".into()),
            })?;
            Ok((Digest(digest), count.value()))
        })
        .collect()
    }

    /// All components, those that are current last.
    pub fn components(&self) -> Result<Vec<Component>, StoreError> {
        let mut current = Vec::new();
        for row in self.current.iter().map_err(failed(READING))? {
            current.push(row.map_err(failed(READING))?.1.value().to_vec());
        }
        let mut components: Vec<Component> = Vec::new();
        for row in self.components.iter().map_err(failed(READING))? {
            let (digest, row) = row.map_err(failed(READING))?;
            let key = || digest.value().iter().map(|byte| format!("{byte:02x}")).collect();
            components.push(decode(row.value()).map_err(|error| StoreError::Row {
                table: "component",
                key: key(),
                error,
            })?);
        }
        components.sort_by_key(|component| current.iter().any(|digest| *digest == component.digest.0));
        Ok(components)
    }
}

fn numbers(table: &ReadOnlyTable<u8, u64>) -> Result<BTreeMap<u8, u64>, StoreError> {
    let rows = table.iter().map_err(failed(READING))?;
    rows.map(|row| row.map(|(key, number)| (key.value(), number.value())).map_err(failed(READING))).collect()
}

fn ids(table: &ReadOnlyTable<u64, &'static str>) -> Result<Vec<String>, StoreError> {
    let rows = table.iter().map_err(failed(READING))?;
    rows.map(|row| row.map(|(_, id)| id.value().to_owned()).map_err(failed(READING))).collect()
}

/// The items of the runs under a number, from an index on.
fn runs<T: serde::de::DeserializeOwned>(
    table: &ReadOnlyTable<(u64, u32), &'static [u8]>,
    name: &'static str,
    number: u64,
    from: u32,
) -> Result<Vec<T>, StoreError> {
    // The run that has `from` begins at or before it.
    let first = table.range((number, 0)..=(number, from)).map_err(failed(READING))?.next_back();
    let first = first.transpose().map_err(failed(READING))?.map_or(from, |(key, _)| key.value().1);
    let mut found = Vec::new();
    for row in table.range((number, first)..=(number, u32::MAX)).map_err(failed(READING))? {
        let (key, row) = row.map_err(failed(READING))?;
        let (number, start) = key.value();
        let damaged = |error| StoreError::Row { table: name, key: format!("{number}/{start}"), error };
        let run: Vec<T> = items(unseal(row.value()).map_err(damaged)?).map_err(damaged)?;
        found.extend(run.into_iter().skip(from.saturating_sub(start) as usize));
    }
    Ok(found)
}
