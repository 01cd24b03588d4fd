//! Nodes: they look at the database, learn what they have, take what nobody has, and give away what is for others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use host_cluster::{Lodgers, answers_for, plan_of};
use host_log::{FencedLog, Watched, check_tail};
use host_partition::Driven;
use host_store::MemoryFile;
use machine::Op;
use tokio::sync::oneshot;

use super::appends::{Appending, Appends};
use super::cast::Guest;
use super::database::{Seen, Taken};
use super::events::Event;
use super::guests::PARTS;
use super::partitions::Then;
use super::protocol::settings;
use super::world::World;
use super::{LEASE, Mutation, START};

/// A store with nothing in it, whose tables are made once.
static EMPTY: LazyLock<MemoryFile> = LazyLock::new(|| {
    let file = MemoryFile::default();
    drop(Driven::open(file.clone(), PARTS[0], Vec::new(), START).expect("there is memory"));
    file
});

pub struct Node {
    /// Given by the database; 0 before.
    pub id: i64,
    /// Counts the lives of the process.
    pub life: u64,
    pub is_up: bool,
    pub paused_until: u64,
    /// Of its clock, against true time: how far off it is, and how fast it runs, in percent.
    pub skew: i64,
    pub rate: u64,
    /// By its own clock.
    pub answers_until: u64,
    /// Until when it doesn't reach the database, or other nodes.
    pub no_database_until: u64,
    pub no_peers_until: u64,
    /// Until when its disk is slow.
    pub slow_disk_until: u64,
    pub owners: Vec<Option<i64>>,
    pub owned: BTreeMap<usize, Owned>,
    /// Partitions that it has asked for and those that are being restored, each as often as it was asked for.
    pub moving: Vec<usize>,
    /// The guests that it runs, its own among them.
    pub lodgers: Lodgers<Guest>,
    /// What its partitions append through.
    pub appends: Appends,
}

pub struct Owned {
    pub driven: Driven,
    pub term: u64,
    pub log: FencedLog,
    pub watched: Arc<Watched>,
    pub appending: Option<Appending>,
    pub waiting: Vec<(oneshot::Receiver<()>, Then)>,
    pub carrying: BTreeSet<u8>,
    pub is_given: bool,
    /// What its store is on fails, or will.
    pub disk_fails: bool,
}

/// Who carries mail: node, life, place and term.
#[derive(Clone, Copy)]
pub struct Carrier {
    pub node: usize,
    pub life: u64,
    pub place: usize,
    pub term: u64,
}

impl Node {
    /// One of the times that a partition was asked for is over.
    pub fn arrived(&mut self, place: usize) {
        if let Some(index) = self.moving.iter().position(|moving| *moving == place) {
            self.moving.swap_remove(index);
        }
    }
}

impl World {
    /// What a node's own clock counts, and what it takes for the time of day.
    pub(super) fn ticks(&self, node: usize) -> u64 {
        self.now * self.nodes[node].rate / 100
    }

    pub(super) fn time(&self, node: usize) -> u64 {
        (START + self.now).saturating_add_signed(self.nodes[node].skew)
    }

    pub(super) fn may_answer(&self, node: usize) -> bool {
        self.is(Mutation::AnswerAfterLease) || self.ticks(node) <= self.nodes[node].answers_until
    }

    pub(super) fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].is_up && self.nodes[node].life == life
    }

    pub(super) fn owned(&mut self, carrier: Carrier) -> Option<&mut Owned> {
        if !self.is_alive(carrier.node, carrier.life) {
            return None;
        }
        let time = self.time(carrier.node);
        let owned =
            self.nodes[carrier.node].owned.get_mut(&carrier.place).filter(|owned| owned.term == carrier.term)?;
        owned.driven.set_clock(time);
        Some(owned)
    }

    pub(super) fn tick(&mut self, node: usize, life: u64) {
        if !self.is_alive(node, life) {
            return;
        }
        let begun = self.ticks(node);
        if let Some(travel) = self.delay_to_database(node) {
            self.at(self.now + travel, Event::LookAtDatabase { node, life, begun });
        }
        self.after(LEASE / 8, LEASE / 5, Event::Tick { node, life });
    }

    /// In the database: renew the lease, bury the dead, see who has what.
    pub(super) fn look(&mut self, node: usize, life: u64, begun: u64) {
        let mut id = self.nodes[node].id;
        if !self.is_alive(node, life) {
            return;
        }
        if id == 0 || !self.database.renew(id, self.now) {
            id = self.database.register(self.now);
        }
        self.database.bury(self.now);
        let seen = self.database.look();
        if let Some(back) = self.travel() {
            self.at(self.now + back, Event::Looked { node, life, begun, id, seen });
        }
    }

    pub(super) fn looked(&mut self, node: usize, life: u64, begun: u64, id: i64, seen: Seen) {
        if !self.is_alive(node, life) || id < self.nodes[node].id {
            return;
        }
        if id != self.nodes[node].id {
            self.nodes[node].id = id;
            self.nodes[node].owned.clear();
            self.nodes[node].moving.clear();
        }
        let lost: Vec<usize> =
            self.nodes[node].owned.keys().copied().filter(|place| seen.owners[*place] != Some(id)).collect();
        // It may have been taken after this was seen.
        for place in lost {
            let is_older = self.nodes[node].owners[place] == Some(id);
            if is_older {
                self.nodes[node].owned.remove(&place);
            }
        }
        let until = begun + answers_for(Duration::from_millis(LEASE)).as_millis() as u64;
        self.nodes[node].answers_until = self.nodes[node].answers_until.max(until);
        self.nodes[node].owners = seen.owners.clone();
        self.nodes[node].lodgers.know(|node| seen.nodes.contains(&node));
        let failed: Vec<usize> =
            self.nodes[node].owned.iter().filter(|(_, o)| o.driven.broken().is_some()).map(|(p, _)| *p).collect();
        for place in failed {
            self.nodes[node].owned.remove(&place);
            self.after(1, 3, Event::Give { id, place, epoch: seen.epochs[place] });
        }
        let (take, give) = plan_of(id, &seen.nodes, &seen.owners);
        for place in give {
            if let Some(owned) = self.nodes[node].owned.get_mut(&usize::from(place)) {
                owned.is_given = true;
            }
        }
        if take.is_empty() {
            for place in 0..PARTS.len() {
                let here = self.nodes[node].owned.contains_key(&place) || self.nodes[node].moving.contains(&place);
                if seen.owners[place] == Some(id) && !here {
                    self.after(1, 3, Event::Give { id, place, epoch: seen.epochs[place] });
                }
            }
            return;
        }
        let places: Vec<usize> = take.into_iter().map(usize::from).collect();
        self.nodes[node].moving.extend(places.iter().copied());
        self.after(1, 3, Event::TakeAtDatabase { node, life, id, places });
    }

    pub(super) fn restore(&mut self, node: usize, life: u64, id: i64, taken: Taken) {
        if !self.is_alive(node, life) || self.nodes[node].id != id {
            return;
        }
        self.nodes[node].arrived(taken.place);
        let Taken { place, end, snapshot, tail } = taken;
        self.terms += 1;
        let term = self.terms;
        let after = snapshot.as_ref().map_or(0, |(applied, _)| *applied);
        let file = match snapshot {
            None => EMPTY.copy(),
            Some((_, file)) => {
                self.counts.restored += 1;
                let file = file.copy();
                if self.is(Mutation::ForgetReceived) {
                    forget_received(&file);
                }
                file
            }
        };
        let rows = tail.into_iter().map(|(group, hash)| (group.first, group.count, hash.to_vec(), group.bytes));
        let tail = match check_tail(rows.collect(), after, &end) {
            Ok(tail) => tail,
            // It is given back, and tried again.
            Err(_) => return self.after(20, 50, Event::Give { id, place, epoch: end.epoch }),
        };
        let tail = if self.is(Mutation::SkipTail) { Vec::new() } else { tail };
        let driven = match Driven::open(file, PARTS[place], tail, self.time(node)) {
            Ok(driven) => driven,
            Err(error) => return self.violated(format!("partition {} can't be opened: {error}", PARTS[place])),
        };
        let watched = Arc::<Watched>::default();
        let log = FencedLog::new(PARTS[place], id, end, self.nodes[node].appends.appender.clone(), watched.clone());
        let owned = Owned {
            driven,
            term,
            log,
            watched,
            appending: None,
            waiting: Vec::new(),
            carrying: BTreeSet::new(),
            is_given: false,
            disk_fails: false,
        };
        self.nodes[node].owned.insert(place, owned);
        self.nodes[node].owners[place] = Some(id);
        let carrier = Carrier { node, life, place, term };
        let component = self.cast.component();
        let owned = self.owned(carrier).expect("it was put there");
        // Again it is no news, nor are settings.
        let _ = owned.driven.apply(Op::Adopt(settings()));
        if PARTS[place] == 0 {
            let _ = owned.driven.apply(Op::Install { component });
        }
        self.after(0, 2, Event::Work { carrier });
    }
}

/// A snapshot in which the numbers of mail that came were left out.
fn forget_received(file: &MemoryFile) {
    const RECEIVED: redb::TableDefinition<u8, u64> = redb::TableDefinition::new("received");
    let database = redb::Database::builder().create_with_backend(file.clone()).expect("it is one");
    let transaction = database.begin_write().expect("it can be written");
    transaction.open_table(RECEIVED).expect("it is there").retain(|_, _| false).expect("it can be written");
    transaction.commit().expect("it can be written");
}
