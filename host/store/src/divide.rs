//! Dividing what one host has between the partitions of a cluster: its tables into tables of each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::{Id, PARTITIONS, Promise, partition_of};

use super::Disk;
use super::cut::{Cut, Row};
use super::encoding::push;
use super::error::StoreError;
use super::file::Store;
use super::reader::Reader;

/// How many promises are written to the tables of a partition at a time.
const AT_ONCE: usize = 1_000;
/// Memory for pages of each.
const CACHE_BYTES: usize = 1 << 20;

/// Something that can't be divided.
#[derive(Debug, thiserror::Error)]
pub enum DivideError {
    /// Two call trees that are under way and belong to different partitions, one of which waits for the other.
    #[error(
        "{0:?} and {1:?} are under way, belong to different partitions of a cluster, and one waits for the other: \
         migrate when they have ended, or cancel one of them"
    )]
    Crossing(Id, Id),
    /// The tables.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Write tables for each partition into a directory, whole up to the same record as those that are read. They are named by
/// their numbers.
pub fn divide(from: &Store, directory: &Path) -> Result<Vec<PathBuf>, DivideError> {
    let reader = from.reader()?;
    let disk = Arc::new(Disk::disposable());
    let path = |number: usize| directory.join(format!("{number}.redb"));
    let mut parts = Vec::with_capacity(PARTITIONS);
    for number in 0..PARTITIONS {
        let store = Store::open(&path(number), CACHE_BYTES, &disk)?;
        let mut part = Part { store, rows: Vec::new(), cut: Cut { applied: from.applied(), ..Cut::default() } };
        part.cut.now = from.now();
        part.cut.settings = from.settings().clone();
        part.cut.components =
            reader.components()?.into_iter().map(|component| (component.digest, Some(component))).collect();
        part.cut.configs = reader.configs()?;
        parts.push(part);
    }
    for schedule in reader.schedules()? {
        let part = &mut parts[usize::from(partition_of(&schedule.id))];
        part.cut.schedules.insert(schedule.id.clone(), Some(schedule));
    }
    reader.each_promise(|number, promise| {
        check(&promise)?;
        let part = &mut parts[usize::from(promise.id.partition())];
        part.rows.push(row(&reader, number, promise)?);
        if part.rows.len() >= AT_ONCE { part.write() } else { Ok(()) }
    })?;
    for part in &mut parts {
        part.write()?;
    }
    Ok((0..PARTITIONS).map(path).collect())
}

/// The tables of one partition.
struct Part {
    store: Store,
    rows: Vec<Row>,
    /// What all cuts have, and the first has beside.
    cut: Cut,
}

impl Part {
    fn write(&mut self) -> Result<(), DivideError> {
        let rows = std::mem::take(&mut self.rows);
        let cut = Cut {
            applied: self.cut.applied,
            now: self.cut.now,
            settings: self.cut.settings.clone(),
            components: std::mem::take(&mut self.cut.components),
            configs: std::mem::take(&mut self.cut.configs),
            schedules: std::mem::take(&mut self.cut.schedules),
            rows,
            ..Cut::default()
        };
        self.store.write(&Arc::new(cut))?;
        Ok(())
    }
}

/// What is under way in one partition waits for nothing in another: it would have to be told by mail.
fn check(promise: &Promise) -> Result<(), DivideError> {
    if promise.outcome.is_some() {
        return Ok(());
    }
    let own = promise.id.partition();
    let owner = promise.owner.iter().map(|owner| &owner.execution);
    let awaiters = promise.awaiters.iter().map(|awaiter| &awaiter.execution);
    let awaited = promise.execution.iter().flat_map(|execution| execution.open.values().flatten());
    let callbacks = promise.foreign.iter().flat_map(|foreign| foreign.callbacks.iter());
    let mut others = owner.chain(awaiters).chain(awaited).chain(callbacks);
    match others.find(|other| other.partition() != own) {
        Some(other) => Err(DivideError::Crossing(promise.id.clone(), other.clone())),
        None => Ok(()),
    }
}

fn row(reader: &Reader, number: u64, promise: Promise) -> Result<Row, StoreError> {
    let (mut journal, mut output) = (Vec::new(), Vec::new());
    if promise.execution.is_some() {
        reader.journal(number, 0)?.iter().for_each(|entry| push(&mut journal, entry));
        reader.output(number, 0)?.iter().for_each(|piece| push(&mut output, piece));
    }
    Ok(Row { promise: Arc::new(promise), saved: None, journal, first_entry: 0, output, first_output: 0 })
}
