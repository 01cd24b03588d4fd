//! The one lock. Whoever lets go of it wakes those for whom there is something to do now, and nobody else: waking a thread
//! costs more than most of what is done under the lock.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use machine::{Id, State};
use parking_lot::{Condvar, MutexGuard};

use super::Shared;
use super::inner::Inner;
use super::workers::Lane;

/// What the threads wait for. All go with the one lock.
#[derive(Default)]
pub(super) struct Signals {
    /// An execution is queued, in the short lane or in the long one.
    pub(super) queued: Condvar,
    pub(super) queued_long: Condvar,
    /// A record is to be committed, soon or now.
    pub(super) recorded: Condvar,
    /// A group was committed.
    pub(super) committed: Condvar,
    /// The store is to be written.
    pub(super) write: Condvar,
    /// The store was written.
    pub(super) written: Condvar,
    /// There is an earlier deadline than the timer waits for.
    pub(super) deadline: Condvar,
    /// The host is to stop.
    pub(super) stopping: Condvar,
}

impl Signals {
    /// An execution is queued in that lane.
    pub(super) fn of(&self, lane: Lane) -> &Condvar {
        match lane {
            Lane::Short => &self.queued,
            Lane::Long => &self.queued_long,
        }
    }

    /// Have everybody look.
    pub(super) fn wake_all(&self) {
        let first = [&self.queued, &self.queued_long, &self.recorded, &self.committed, &self.write];
        for signal in first.into_iter().chain([&self.written, &self.deadline, &self.stopping]) {
            signal.notify_all();
        }
    }
}

/// The state, locked.
pub(super) struct Locked<'a> {
    shared: &'a Shared,
    /// None only while it is dropped.
    guard: Option<MutexGuard<'a, Inner>>,
}

impl Shared {
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { shared: self, guard: Some(self.inner.lock()) }
    }
}

impl<'a> Locked<'a> {
    /// Do something without the lock.
    pub(super) fn unlocked<T>(&mut self, work: impl FnOnce(&'a Shared) -> T) -> T {
        self.let_go();
        let done = work(self.shared);
        self.guard = Some(self.shared.inner.lock());
        done
    }

    pub(super) fn wait(&mut self, signal: impl FnOnce(&Signals) -> &Condvar) {
        self.wake();
        signal(&self.shared.signals).wait(self.guard());
    }

    pub(super) fn wait_for(&mut self, signal: impl FnOnce(&Signals) -> &Condvar, time: Duration) {
        self.wake();
        signal(&self.shared.signals).wait_for(self.guard(), time);
    }

    /// Whether an execution can be begun without fetching or compiling its component: that is nothing for a thread that has
    /// others to serve.
    pub(super) fn is_ready_to_run(&mut self, id: &Id) -> bool {
        let programs = &self.shared.programs;
        let execution = self.view.promise(id).and_then(|promise| promise.execution.as_ref());
        execution.is_some_and(|execution| programs.is_loaded(&execution.component))
    }

    fn guard(&mut self) -> &mut MutexGuard<'a, Inner> {
        self.guard.as_mut().expect("it is locked until it is dropped")
    }

    fn let_go(&mut self) {
        if self.guard.is_some() {
            self.wake();
            self.guard = None;
        }
    }

    /// Wake whoever has something to do.
    fn wake(&mut self) {
        let signals = &self.shared.signals;
        let inner = &mut **self.guard.as_mut().expect("it is locked until it is dropped");
        for lane in [Lane::Short, Lane::Long] {
            for _ in 0..inner.sessions.wanted_workers(lane) {
                signals.of(lane).notify_one();
            }
        }
        if let Some(place) = &self.shared.place
            && inner.is_overfull()
        {
            place.overfull.notify_one();
        }
        if inner.wants_committer() {
            signals.recorded.notify_one();
        }
        if inner.wants_writer() {
            signals.write.notify_one();
        }
        if inner.view.next_due() < inner.timer_at {
            // Once is enough.
            inner.timer_at = 0;
            signals.deadline.notify_one();
        }
    }
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        self.guard.as_ref().expect("it is locked until it is dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        self.guard()
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
