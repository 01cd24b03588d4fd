//! The transition: a record, applied to the state.
//!
//! `promises` owns creating, settling and expiring; `executions` owns starting executions, and what follows from what
//! a session records; `check` owns what a session may record; `config` owns what executions are configured with; `moves`
//! owns holding executions, moving them to another component, and forking them; `retention` owns what may be forgotten;
//! `components` owns which components there are; `mail` owns what crosses to other partitions. `requests` owns what
//! clients of the promise
//! protocol ask about promises, `tasks` the claims of workers elsewhere, `listeners` telling addresses what was settled, and
//! `schedules` what the calendar makes. All work through [`Step`], which holds the state, the time, and what follows.

mod check;
mod components;
mod config;
mod executions;
mod listeners;
mod mail;
mod moves;
mod promises;
mod requests;
mod retention;
mod schedules;
mod tasks;
#[cfg(test)]
mod tests;

pub use components::{can_install, is_needed};
pub use config::configured;
pub use moves::is_configured_alike;
pub use retention::{Standing, needed_for};

use crate::{Digest, Id, IdError, Op, Outcome, PromiseState, Record, Refusal, State};

/// What came of a record.
#[derive(Debug)]
pub struct Applied {
    /// The answer for whoever put it.
    pub reply: Result<Reply, Rejection>,
    /// What is to be done, in order.
    pub effects: Vec<Effect>,
    /// Whether the state changed, so that the record must be kept. A rejected record can still have changed something:
    /// it may have found a deadline passed.
    pub changed: bool,
}

/// A record that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A promise is there. `created`: it wasn't before.
    Promise {
        /// Whether this record made it.
        created: bool,
    },
    /// Done, or found done.
    Done,
    /// The session may go on, under this version.
    Acquired {
        /// The fence.
        version: u32,
    },
    /// What the turn was, is recorded.
    Progressed,
    /// A request of the promise protocol was granted.
    Granted(Granted),
    /// What was not needed is gone.
    Forgotten {
        /// How many promises that was.
        count: usize,
    },
}

/// What came of a request of the promise protocol that was granted. The rows have all else that the answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is done, or was found done.
    Done,
    /// Something that the task was to wait for is settled: it isn't suspended, and goes on.
    GoOn,
    /// The task is held, and this came of the action.
    Fenced(Result<(), Refusal>),
}

/// Something that follows from a record. The order matters: a session that is stopped must not be found waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The execution can go on: it has just started, or something that it waits for was settled.
    Runnable(Id),
    /// The execution was ended from outside, or moved: its session, if there is one, has nothing more to do.
    Stop(Id),
    /// The promise has its outcome: whoever waits for it is to be answered.
    Settled(Id),
    /// A task can be taken: its workers are to be told. Said again after a while if none takes it.
    Execute {
        /// Which task.
        id: Id,
        /// At which version.
        version: u32,
        /// Where its workers are.
        address: String,
    },
    /// The promise has its outcome: this address is to be told. Said again until [`Op::Told`] says that it was.
    Unblock {
        /// Which promise.
        id: Id,
        /// Where to.
        address: String,
    },
    /// Everything is gone: no session, and nobody who waits, has anything to do.
    Reset,
    /// The promise is that of a request, which is to be sent once all that led to it is durable.
    Send(Id),
    /// There is a message for this partition, to be carried once it is durable.
    Post(u8),
}

/// Why a record was not accepted. The state is as it was, except for deadlines that have passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A name that no current component exports.
    #[error("there is no function named {0:?}: upload a component that has it")]
    NoFunction(String),
    /// An id that nothing has.
    #[error("there is no promise with the id {0:?}")]
    NoPromise(Id),
    /// A promise that is not the result of a function.
    #[error("{0:?} is a promise, not an execution")]
    NoExecution(Id),
    /// Settled before, in another way.
    #[error("{id:?} is already settled: {}", state.as_str())]
    Settled {
        /// Which promise.
        id: Id,
        /// How it was settled.
        state: PromiseState,
    },
    /// The id of a call stands for another one.
    #[error("the id {id:?} is taken by another call: {what}")]
    Taken {
        /// Which id.
        id: Id,
        /// What is different about the other one.
        what: &'static str,
    },
    /// A digest that no component has.
    #[error("there is no component {0}: upload it first")]
    NoComponent(Digest),
    /// An execution can't run on a component without its function.
    #[error("the component {component} has no function named {function:?}")]
    NotExported {
        /// The component.
        component: Digest,
        /// The function.
        function: String,
    },
    /// What was found out about an execution is no longer so.
    #[error("{0:?} has got on since it was looked at: try again")]
    GotOn(Id),
    /// Two components with a function of one name.
    #[error(
        "the function {function:?} belongs to the component {owner:?}: rename the function, or give both components \
         the same name if this one replaces the other"
    )]
    FunctionTaken {
        /// Its name.
        function: String,
        /// The name of the component that has it.
        owner: String,
    },
    /// A component of another name.
    #[error("this very component is there as {known:?}, and can't be {name:?} as well")]
    Renamed {
        /// The name that it has.
        known: String,
        /// The name that it was to get.
        name: String,
    },
    /// A promise that can't be forgotten yet.
    #[error("{id:?} can't be removed: {why}")]
    Needed {
        /// Which promise.
        id: Id,
        /// What it is needed for.
        why: &'static str,
    },
    /// A text that is no id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The session has lost its claim, or never had one.
    #[error("the session of {0:?} is no longer the one that may record its progress")]
    Stale(Id),
    /// A request of the promise protocol.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An id of another partition.
    #[error("{0:?} belongs to another partition")]
    Elsewhere(Id),
    /// What is the same in all partitions.
    #[error("components and configurations are for the first partition to decide, which tells the others")]
    NotFirst,
    /// A fork in another partition than the history that it begins with.
    #[error(
        "{id:?} and {from:?} are in different partitions: without an id of its own, a fork gets one that can have the history"
    )]
    Apart {
        /// The fork.
        id: Id,
        /// What it was to be forked from.
        from: Id,
    },
    /// A message from another partition, before those that were sent before it.
    #[error("message {number} from partition {from} came before message {}", last + 1)]
    Early {
        /// Where it is from.
        from: u8,
        /// Its number.
        number: u64,
        /// The number of the last one that came from there.
        last: u64,
    },
    /// A configuration that can't be.
    #[error("{0}")]
    Config(String),
    /// A session or a client is said to have done what none can. That is a fault of the host, never of a guest.
    #[error("what was to be recorded of {id:?} can't be: {what}")]
    Malformed {
        /// Which promise or execution.
        id: Id,
        /// What was wrong.
        what: String,
    },
}

/// Apply a record.
///
/// The same records applied in the same order to equal states give equal states and equal answers. Time is that of the
/// record alone, and a deadline that has passed at that time has passed for every rule.
pub fn apply<S: State>(state: &mut S, record: Record) -> Applied {
    let mut step = Step { state, now: record.now, effects: Vec::new(), changed: false };
    let reply = step.op(record.op);
    Applied { reply, effects: step.effects, changed: step.changed }
}

/// One application of a record.
struct Step<'a, S> {
    state: &'a mut S,
    now: u64,
    effects: Vec<Effect>,
    changed: bool,
}

impl<S: State> Step<'_, S> {
    fn op(&mut self, op: Op) -> Result<Reply, Rejection> {
        match op {
            Op::Invoke { id, function, arguments, timeout_at, seed } => {
                self.invoke(id, function, arguments, timeout_at, seed)
            }
            Op::CreatePromise { id, param, timeout_at } => self.create_promise(id, param, timeout_at),
            Op::Settle { id, outcome } => self.settle_from_outside(id, outcome),
            Op::Expire { ids } => {
                for id in &ids {
                    self.expire(id);
                    self.claim_due(id);
                    self.tell_again(id);
                }
                Ok(Reply::Done)
            }
            Op::Acquire { id } => self.acquire(id),
            Op::Progress(progress) => self.progress(progress),
            Op::Hold { id, version, reason } => self.hold(id, version, reason),
            Op::Install { component } => self.install(component),
            Op::Move { id, component, entries, replayed } => self.move_to(id, component, entries, replayed),
            Op::Fork { id, from, entries, component, replayed, timeout_at } => {
                self.fork(id, from, moves::History { entries, component, replayed }, timeout_at)
            }
            Op::Request(request) => self.request(*request),
            Op::RunSchedules { ids } => {
                ids.iter().for_each(|id| self.run_schedule(id));
                Ok(Reply::Done)
            }
            Op::Told { id, address } => self.told(&id, &address),
            Op::Adopt(settings) => {
                self.changed = *self.state.settings() != settings;
                self.state.adopt(settings);
                Ok(Reply::Done)
            }
            Op::Reset => {
                self.changed = true;
                self.state.clear();
                self.effects.push(Effect::Reset);
                Ok(Reply::Done)
            }
            Op::Configure { scope, config } => self.configure(scope, config),
            Op::Forget { trees } => self.forget(&trees),
            Op::Receive { from, number, message } => self.receive(from, number, *message),
            Op::Delivered { to, number } => self.delivered(to, number),
            Op::Uninstall { digests } => self.uninstall(&digests),
        }
    }
}

/// Whether somebody can give this outcome. The others come from a deadline, and from the end of a function.
fn is_given(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Resolved(_) | Outcome::Rejected(_) | Outcome::Canceled)
}

/// The ids below a root belong to its steps: made from outside, one would be in the way of a step to come.
fn root_only(id: &Id) -> Result<(), Rejection> {
    if id.is_root() { Ok(()) } else { Err(IdError::Reserved(id.to_string()).into()) }
}

fn malformed(id: &Id, what: String) -> Rejection {
    Rejection::Malformed { id: id.clone(), what }
}
