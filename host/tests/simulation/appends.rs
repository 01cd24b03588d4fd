//! Appends to the log: what appends in a host does so here, to a ledger that is asked over the network, and answers late, or
//! never.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use host_log::{Append, AppendCounts, Appender, End, Group, Ledger, UnderWay};
use tokio::sync::oneshot;

use super::Mutation;
use super::events::Event;
use super::guests::PARTS;
use super::nodes::Carrier;
use super::world::{PATIENCE, World};

/// Before the ledger is asked again.
const PAUSE: u64 = 20;

/// A group that isn't known to be durable.
pub struct Appending {
    /// The number of its last record.
    pub last: u64,
    pub under_way: UnderWay,
}

/// What the appender of a node asks of the ledger.
#[derive(Clone)]
pub enum Question {
    Append(Vec<Wanted>),
    Look { place: usize, node: i64, before: [u8; 32], after: [u8; 32] },
    Pause,
}

/// A group that is to be appended.
#[derive(Clone)]
pub struct Wanted {
    place: usize,
    node: i64,
    end: End,
    group: Group,
}

#[derive(Clone)]
pub enum Said {
    Appended(Vec<u8>),
    Seen(Option<End>),
    Paused,
}

/// It didn't answer in time.
struct Late;

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the ledger doesn't answer")
    }
}

type Asked = Arc<Mutex<Option<(Question, oneshot::Sender<Option<Said>>)>>>;

/// The ledger, as a node sees it: it asks one thing at a time.
struct Far(Asked);

impl Far {
    async fn ask(&self, question: Question) -> Result<Said, Late> {
        let (answer, said) = oneshot::channel();
        *self.0.lock().unwrap() = Some((question, answer));
        said.await.ok().flatten().ok_or(Late)
    }
}

impl Ledger for Far {
    type Error = Late;

    async fn append(&mut self, batch: &[Append]) -> Result<Vec<u8>, Late> {
        let wanted = |append: &Append| Wanted {
            place: place(append),
            node: append.node,
            end: append.end,
            group: append.group.clone(),
        };
        match self.ask(Question::Append(batch.iter().map(wanted).collect())).await? {
            Said::Appended(partitions) => Ok(partitions),
            _ => Err(Late),
        }
    }

    async fn look(&mut self, append: &Append) -> Result<Option<End>, Late> {
        let (before, after) = (append.end.hash, append.hash);
        match self.ask(Question::Look { place: place(append), node: append.node, before, after }).await? {
            Said::Seen(end) => Ok(end),
            _ => Err(Late),
        }
    }

    async fn pause(&mut self) {
        let _ = self.ask(Question::Pause).await;
    }
}

fn place(append: &Append) -> usize {
    PARTS.iter().position(|part| *part == append.partition).expect("it is one of these")
}

/// What appends for a process.
pub struct Appends {
    pub appender: Appender,
    at_work: Pin<Box<dyn Future<Output = ()> + Send>>,
    asked: Asked,
    /// What it waits for: the number of the question, and where the answer goes.
    waits: Option<(u64, Question, oneshot::Sender<Option<Said>>)>,
}

impl Appends {
    pub fn new() -> Appends {
        let asked = Asked::default();
        let (appender, at_work) = Appender::new(Far(asked.clone()), Arc::<AppendCounts>::default());
        Appends { appender, at_work: Box::pin(at_work), asked, waits: None }
    }

    /// Let it go on, as far as it goes. What it asks.
    fn go_on(&mut self) -> Option<(Question, oneshot::Sender<Option<Said>>)> {
        let _ = self.at_work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.asked.lock().unwrap().take()
    }
}

impl World {
    pub(super) fn append(&mut self, carrier: Carrier) {
        let Some(owned) = self.owned(carrier) else { return };
        if owned.appending.is_some() || owned.driven.broken().is_some() {
            return;
        }
        let Some(group) = owned.driven.take_group() else { return };
        let under_way = owned.log.begin(&group);
        owned.appending = Some(Appending { last: group.last(), under_way });
        self.go_on_appending(carrier.node);
    }

    /// What appends for a node goes on, and asks what it has to; and the partitions learn what became of their groups.
    fn go_on_appending(&mut self, node: usize) {
        if let Some((question, answer)) = self.nodes[node].appends.go_on() {
            self.order += 1;
            let (number, life) = (self.order, self.nodes[node].life);
            self.nodes[node].appends.waits = Some((number, question.clone(), answer));
            self.ask_ledger(node, life, number, question);
        }
        for place in 0..PARTS.len() {
            self.learn(node, place);
        }
    }

    fn ask_ledger(&mut self, node: usize, life: u64, number: u64, question: Question) {
        if let Question::Pause = question {
            let said = Some(Said::Paused);
            return self.after(PAUSE, 2 * PAUSE, Event::LedgerSaid { node, life, number, said });
        }
        if let Some(there) = self.delay_to_database(node) {
            let back = self.travel();
            self.at(self.now + there, Event::LedgerAsked { node, life, number, question, back });
        }
        self.at(self.now + PATIENCE, Event::LedgerSaid { node, life, number, said: None });
    }

    fn learn(&mut self, node: usize, place: usize) {
        let life = self.nodes[node].life;
        let Some(owned) = self.nodes[node].owned.get_mut(&place) else { return };
        let Some(appending) = &mut owned.appending else { return };
        let Some(ended) = owned.log.ended(&mut appending.under_way) else { return };
        let last = appending.last;
        owned.appending = None;
        let carrier = Carrier { node, life, place, term: owned.term };
        let Some(owned) = self.owned(carrier) else { return };
        match ended {
            Err(error) => owned.driven.abandon(&error.to_string()),
            Ok(()) => {
                owned.driven.committed(last);
                self.released(carrier);
            }
        }
    }

    /// In the database.
    pub(super) fn ledger_asked(&mut self, node: usize, life: u64, number: u64, question: Question, back: Option<u64>) {
        let said = match question {
            Question::Append(wanted) => {
                let mut appended = Vec::new();
                for Wanted { place, node, end, group } in wanted {
                    match self.database.append(node, place, &end, &group) {
                        Err(what) => return self.violated(what),
                        Ok(true) => appended.push(PARTS[place]),
                        Ok(false) => {}
                    }
                }
                Said::Appended(appended)
            }
            Question::Look { place, node, .. } => Said::Seen(self.database.look_at_end(node, place)),
            Question::Pause => Said::Paused,
        };
        if let Some(back) = back {
            self.at(self.now + back, Event::LedgerSaid { node, life, number, said: Some(said) });
        }
    }

    /// None: nothing, until now.
    pub(super) fn ledger_said(&mut self, node: usize, life: u64, number: u64, said: Option<Said>) {
        if !self.is_alive(node, life) {
            return;
        }
        let waits = self.nodes[node].appends.waits.take_if(|(asked, ..)| *asked == number);
        let Some((_, question, answer)) = waits else { return };
        let said = match (said, question) {
            (None, Question::Append(wanted)) => {
                self.counts.unknown += wanted.len() as u64;
                self.gave_up_waiting(&wanted)
            }
            (Some(Said::Seen(end)), Question::Look { before, after, .. }) => {
                let is_at = |hash| u64::from(end.is_some_and(|end| end.hash == hash));
                self.counts.found_missing += is_at(before);
                self.counts.found_durable += is_at(after);
                Some(Said::Seen(end))
            }
            (said, _) => said,
        };
        let _ = answer.send(said);
        self.go_on_appending(node);
    }

    /// As it should be done, nothing is taken to have been said.
    fn gave_up_waiting(&mut self, wanted: &[Wanted]) -> Option<Said> {
        if self.is(Mutation::TrustUnknown) {
            return Some(Said::Appended(wanted.iter().map(|wanted| PARTS[wanted.place]).collect()));
        }
        if self.is(Mutation::RetryBlindly) {
            // At whatever end there is.
            for Wanted { place, node, group, .. } in wanted {
                let row = &self.database.rows[*place];
                let (end, owner) = (row.end, row.owner);
                let again = Group { first: end.next, ..group.clone() };
                if owner == Some(*node)
                    && let Err(what) = self.database.append(*node, *place, &end, &again)
                {
                    self.violated(what);
                }
            }
        }
        None
    }
}
