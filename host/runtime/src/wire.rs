//! What passes between a guest and its session: steps asked and answered, time, randomness and output.
//!
//! A guest's store lives inside the future of its call, where nobody can reach it. This part is shared by both sides.
//! Only one of them is at work at a time, so its lock is never contended; it is there because the compiler can't know.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use machine::{Ask, CallOptions, Completion, Event, Id, IdError, Names, Outcome, Output};

use super::Limits;
use super::engine::Slice;
use super::environment::Environment;
use super::fault::Stop;
use super::imports::random::Dice;
use super::output::Console;
use super::trace::Trace;

/// Both ends of one session's wire.
pub(super) struct Wire {
    woken: AtomicBool,
    ends: Mutex<Ends>,
}

/// What is on the wire.
pub(super) struct Ends {
    id: Id,
    /// What the steps are called that a fork took over.
    pub(super) names: Names,
    /// Steps that a fork took over and that made promises: it has its own in their place.
    inherited_promises: BTreeSet<u32>,
    pub(super) limits: Arc<Limits>,
    /// Guests that describe themselves have no steps.
    pub(super) describing: bool,
    pub(super) environment: Arc<Environment>,
    /// What the guest has been told of in its log.
    pub(super) noted: Vec<&'static str>,
    pub(super) console: Console,
    pub(super) dice: Dice,
    pub(super) slice: Slice,
    /// What the guest asked its memory to grow to, when that was last refused.
    pub(super) refused_bytes: Option<usize>,
    /// The guest's linear memory, as of its last growth.
    pub(super) memory_bytes: usize,
    /// What it has written of bodies that aren't asked to be sent yet. The host has it, so it counts as the guest's memory.
    pub(super) unsent_bytes: usize,
    /// The guest's time. It stands still while the guest runs, and never goes back.
    now_ms: u64,
    started_ms: u64,
    steps: u32,
    /// Steps whose imports have not returned, in the order of their numbers.
    waiting: VecDeque<(u32, Slot)>,
    /// Steps of the guest's own work that it has begun and not recorded.
    begun: BTreeSet<u32>,
    events: Vec<Event>,
    /// Where in the guest it was asked, of those events that somebody wants to know it of.
    pub(super) trace: Trace,
    /// The call has ended. What its store drops from now on is nothing that the guest did.
    closed: bool,
}

/// What is known of the answer to a step.
enum Slot {
    Asked(Option<Waker>),
    Told(Completion),
}

impl Wire {
    pub(super) fn new(ends: Ends) -> Arc<Wire> {
        Arc::new(Wire { woken: AtomicBool::new(false), ends: Mutex::new(ends) })
    }

    /// Poisoning is ignored: every change under the lock is whole before anything that could panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }

    /// Asks for a step that will be answered.
    pub(super) fn ask(self: &Arc<Wire>, ask: Ask) -> Result<Wait, Stop> {
        let mut ends = self.lock();
        let step = ends.begin(ask)?;
        ends.waiting.push_back((step, Slot::Asked(None)));
        Ok(Wait { wire: self.clone(), step, over: false })
    }

    /// Answers a step. Says whether anybody waited for it; if not, nothing changes, and the guest's time doesn't
    /// either.
    pub(super) fn tell(&self, step: u32, completion: Completion, now_ms: u64) -> bool {
        let mut ends = self.lock();
        let Some(slot @ Slot::Asked(_)) = ends.slot(step) else { return false };
        let Slot::Asked(waker) = mem::replace(slot, Slot::Told(completion)) else { return false };
        ends.now_ms = ends.now_ms.max(now_ms);
        drop(ends);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// The waker of the whole session. It says that a poll would find something to do, and does nothing about it.
impl Wake for Wire {
    fn wake(self: Arc<Wire>) {
        self.woken.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Wire>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

impl Ends {
    pub(super) fn new(id: Id, limits: Arc<Limits>, now_ms: u64, console: Console, dice: Dice, slice: Slice) -> Ends {
        Ends {
            id,
            names: Names::default(),
            inherited_promises: BTreeSet::new(),
            limits,
            describing: false,
            environment: Arc::default(),
            noted: Vec::new(),
            console,
            dice,
            slice,
            refused_bytes: None,
            memory_bytes: 0,
            unsent_bytes: 0,
            now_ms,
            started_ms: now_ms,
            steps: 0,
            waiting: VecDeque::new(),
            begun: BTreeSet::new(),
            events: Vec::new(),
            trace: Trace::default(),
            closed: false,
        }
    }

    /// It has written so much more of a body.
    pub(super) fn gather(&mut self, bytes: usize) -> Result<(), Stop> {
        self.unsent_bytes += bytes;
        let (bytes, limit) = (self.unsent_bytes, self.limits.memory_bytes);
        if bytes > limit { Err(Stop::Unsent { bytes, limit }) } else { Ok(()) }
    }

    /// In milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// When the execution first started, which is where its monotonic clock begins.
    pub(super) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// The number that the next step gets.
    pub(super) fn next_step(&self) -> Result<u32, Stop> {
        self.steps.checked_add(1).ok_or(Stop::TooManySteps)
    }

    /// What tells the receiver of a request that it is the same one again. For the step that comes next.
    pub(super) fn idempotency_key(&self) -> Result<String, Stop> {
        Ok(self.dice.key(self.next_id()?.as_str()))
    }

    /// The id that the next step gets, as the guest knows it; of a call, if its options name no other.
    pub(super) fn next_id(&self) -> Result<Id, Stop> {
        let step = self.next_step()?;
        Ok(self.names.of_step(&self.id, step).child(step)?)
    }

    /// The id of what a call starts. One that isn't allowed is refused by whoever answers; what was refused has the
    /// step's own.
    pub(super) fn call_id(&self, options: &CallOptions) -> Result<Id, Stop> {
        let step = self.next_step()?;
        options.id_for(self.names.of_step(&self.id, step), step).or_else(|_: IdError| self.next_id())
    }

    /// Asks for a step that is not answered. Returns its number.
    pub(super) fn begin(&mut self, mut ask: Ask) -> Result<u32, Stop> {
        let step = self.next_step()?;
        if step <= self.names.inherited_steps() {
            if matches!(ask, Ask::CreatePromise { .. }) {
                self.inherited_promises.insert(step);
            }
        } else {
            self.rename(&mut ask);
        }
        let limit = self.limits.pending_steps;
        if self.waiting.len() + self.begun.len() >= limit {
            return Err(Stop::TooManyPending { limit });
        }
        if matches!(ask, Ask::Step { .. }) {
            self.begun.insert(step);
        }
        self.steps = step;
        self.happened(Event::Asked { step, ask });
        Ok(step)
    }

    /// What a fork was told to be the name of a promise of the execution that it was forked from, stands for its own.
    fn rename(&self, ask: &mut Ask) {
        if let Ask::AwaitPromise { id } | Ask::SettlePromise { id, .. } = ask
            && let Some(step) = self.names.inherited_step(id).filter(|step| self.inherited_promises.contains(step))
            && let Ok(own) = self.id.child(step)
        {
            *id = own.to_string();
        }
    }

    fn happened(&mut self, event: Event) {
        self.trace.passed();
        self.events.push(event);
    }

    fn slot(&mut self, step: u32) -> Option<&mut Slot> {
        let index = self.waiting.binary_search_by_key(&step, |(step, _)| *step).ok()?;
        Some(&mut self.waiting[index].1)
    }

    fn remove(&mut self, step: u32) -> Option<Slot> {
        let index = self.waiting.binary_search_by_key(&step, |(step, _)| *step).ok()?;
        self.waiting.remove(index).map(|(_, slot)| slot)
    }

    /// Ends a step of the guest's own work.
    pub(super) fn record(&mut self, step: u32, outcome: Outcome) -> Result<(), Stop> {
        if !self.begun.remove(&step) {
            return Err(Stop::NoSuchStep { step });
        }
        self.happened(Event::Recorded { step, outcome });
        Ok(())
    }

    /// The call has ended: no further event counts. A store that is dropped drops what its guest still waited for, and
    /// in no particular order.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether an answer could make the guest go on.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    /// The guest writes no more.
    pub(super) fn finish_output(&mut self) {
        self.console.finish(self.now_ms);
    }

    pub(super) fn take_output(&mut self) -> Vec<Output> {
        self.console.take()
    }
}

/// The answer to a step, to come. It is complete once and then stays so; dropped before, the guest has stopped waiting.
pub(super) struct Wait {
    wire: Arc<Wire>,
    step: u32,
    over: bool,
}

impl Future for Wait {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let this = &mut *self;
        let mut ends = this.wire.lock();
        match ends.slot(this.step) {
            Some(Slot::Asked(Some(waker))) if waker.will_wake(context.waker()) => Poll::Pending,
            Some(Slot::Asked(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(Slot::Told(_)) => {
                let Some(Slot::Told(completion)) = ends.remove(this.step) else { return Poll::Pending };
                this.over = true;
                Poll::Ready(completion)
            }
            // Polled again after it was complete, which nobody does.
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut ends = self.wire.lock();
        // A step that was told of is over for everybody else, even if the guest never looked.
        if let Some(Slot::Asked(_)) = ends.remove(self.step)
            && !ends.closed
        {
            ends.happened(Event::Dropped { step: self.step });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Arc<Wire> {
        let limits = Arc::new(Limits { pending_steps: 2, ..Limits::default() });
        let id = Id::root("a").expect("it is a valid id");
        let slice = Slice::new(Arc::default(), limits.cpu_ms);
        let console = Console::new(&limits, "f", &Arc::default(), 0);
        Wire::new(Ends::new(id, limits, 100, console, Dice::new(0), slice))
    }

    fn poll(wait: &mut Wait, wire: &Arc<Wire>) -> Poll<Completion> {
        Pin::new(wait).poll(&mut Context::from_waker(&Waker::from(wire.clone())))
    }

    #[test]
    fn a_step_pends_and_is_answered_once() {
        let wire = wire();
        let mut wait = wire.ask(Ask::Sleep { until_ms: 1 }).expect("there is room");
        assert!(poll(&mut wait, &wire).is_pending());
        assert!(wire.tell(1, Completion::Done, 150));
        assert!(!wire.tell(1, Completion::Done, 999), "it was told already");
        assert!(wire.take_woken());
        assert_eq!(poll(&mut wait, &wire), Poll::Ready(Completion::Done));
        drop(wait);
        let mut ends = wire.lock();
        assert_eq!((ends.now_ms(), ends.is_waiting()), (150, false));
        assert_eq!(ends.take_events(), [Event::Asked { step: 1, ask: Ask::Sleep { until_ms: 1 } }]);
    }

    #[test]
    fn a_step_that_is_dropped_is_an_event_unless_it_was_told_or_the_call_has_ended() {
        let wire = wire();
        let sleep = || wire.ask(Ask::Sleep { until_ms: 1 }).expect("there is room");
        drop(sleep());
        let told = sleep();
        wire.tell(2, Completion::Done, 0);
        drop(told);
        let late = sleep();
        wire.lock().close();
        drop(late);
        let events = wire.lock().take_events();
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Dropped { .. })).count(), 1);
        assert_eq!(events[1], Event::Dropped { step: 1 });
        assert!(!wire.tell(3, Completion::Done, 0));
        assert_eq!(wire.lock().now_ms(), 100, "time doesn't go back");
    }

    #[test]
    fn what_is_outstanding_is_bounded_and_steps_are_recorded_once() {
        let wire = wire();
        let step = wire.lock().begin(Ask::Step { name: "s".into() }).expect("there is room");
        let wait = wire.ask(Ask::Sleep { until_ms: 1 }).expect("there is room");
        assert!(matches!(wire.ask(Ask::Sleep { until_ms: 1 }), Err(Stop::TooManyPending { limit: 2 })));
        assert!(wire.lock().record(step, Outcome::Canceled).is_ok());
        assert!(matches!(wire.lock().record(step, Outcome::Canceled), Err(Stop::NoSuchStep { step: 1 })));
        assert!(matches!(wire.lock().record(2, Outcome::Canceled), Err(Stop::NoSuchStep { step: 2 })));
        drop(wait);
        assert_eq!(wire.lock().take_events().len(), 4);
    }
}
