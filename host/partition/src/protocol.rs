//! What clients of the promise protocol ask of the state. Each request is one record, and is answered with what the rows
//! say right after it, once that is durable.

use std::sync::Arc;

use machine::{
    BRANCH, Granted, Id, Op, Promise, PromiseKind, Refusal, Rejection, Reply, Request, Schedule, Settings, State,
};

use super::inner::Inner;
use super::{Error, Partition, committer};

/// The most that is given along with a task, so that its worker needn't ask for it: promises, and bytes of their values.
const PRELOAD_BYTES: usize = 1 << 20;
/// Promises that are looked at for one page of a search.
const SCAN: usize = 20_000;
/// What is due is acted upon in records of so many, as the timer does.
const AT_ONCE: usize = 256;

/// The rows, as they are at the time of a request.
pub struct Seen<'a> {
    inner: &'a mut Inner,
}

/// What a search of promises came to.
pub struct Found {
    /// By id.
    pub promises: Vec<Promise>,
    /// The id after which the rest begins. None: there is none.
    pub next: Option<String>,
    /// The time as of which they are.
    pub now: u64,
}

impl Seen<'_> {
    /// The time.
    pub fn now(&mut self) -> u64 {
        self.inner.now()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        self.inner.view.settings()
    }

    /// A promise, its deadline observed.
    pub fn promise(&mut self, id: &Id) -> Option<Arc<Promise>> {
        self.inner.promise(id).filter(|promise| is_shown(promise))
    }

    /// A schedule.
    pub fn schedule(&self, id: &str) -> Option<Schedule> {
        self.inner.view.schedule(id).cloned()
    }

    /// Schedules after an id, by id, at most `limit`.
    pub fn schedules(&self, after: &str, limit: usize, keep: impl Fn(&Schedule) -> bool) -> Vec<Schedule> {
        self.inner.view.schedules_after(after).filter(|schedule| keep(schedule)).take(limit).cloned().collect()
    }

    /// The other promises of the branch that a promise is of, at most `limit`.
    pub fn branch(&mut self, promise: &Promise, limit: usize) -> Vec<Arc<Promise>> {
        let given = promise.given_tags().and_then(|tags| tags.get(BRANCH));
        let branch = match given.map(|branch| Id::parse(branch)) {
            Some(Ok(branch)) => branch,
            _ => return Vec::new(),
        };
        let Some(root) = self.promise(&branch) else { return Vec::new() };
        let members = root.foreign.iter().flat_map(|foreign| foreign.branch.iter());
        let (mut found, mut bytes) = (Vec::new(), 0);
        for id in std::iter::once(&branch).chain(members).filter(|id| **id != promise.id).take(limit) {
            let Some(member) = self.promise(id) else { continue };
            bytes += member.param.len() + member.outcome.as_ref().map_or(0, machine::Outcome::size);
            if bytes > PRELOAD_BYTES {
                break;
            }
            found.push(member);
        }
        found
    }
}

/// Whether clients see it. What stands for a promise of another partition isn't a promise of its own.
fn is_shown(promise: &Promise) -> bool {
    !matches!(promise.kind, PromiseKind::Remote { .. })
}

impl Partition {
    /// Put a request, and look at what came of it. `at`: the time that it is made at, where that isn't the clock's.
    pub async fn request<T>(
        &self,
        request: Request,
        at: Option<u64>,
        look: impl FnOnce(Result<Granted, Refusal>, &mut Seen<'_>) -> T,
    ) -> Result<T, Error> {
        let (seen, durable) = {
            let mut locked = self.shared.lock();
            locked.admit(self.shared.options.backlog)?;
            let mut inner = At::set(&mut locked, at);
            let seen = inner.request(request, look)?;
            let durable = inner.durable();
            drop(inner);
            committer::help(&mut locked);
            (seen, durable)
        };
        self.until(durable).await?;
        Ok(seen)
    }

    /// Look at the rows.
    pub async fn see<T>(&self, at: Option<u64>, look: impl FnOnce(&mut Seen<'_>) -> T) -> Result<T, Error> {
        self.read(|inner| At::set(inner, at).see(look)).await
    }

    /// Promises after an id, by id: those that `keep` picks, at most `limit`.
    pub async fn search(
        &self,
        at: Option<u64>,
        after: String,
        limit: usize,
        keep: impl Fn(&Promise, u64) -> bool + Send + 'static,
    ) -> Result<Found, Error> {
        let now = self.see(at, |seen| seen.now()).await?;
        let (promises, next) = self
            .read_store(move |reader| {
                reader.by_id(&after, limit, SCAN, |promise| is_shown(promise) && keep(promise, now))
            })
            .await?;
        Ok(Found { promises, next, now })
    }

    /// Let time stand still, but for requests that carry their own; nothing happens by itself from here on. For tests.
    pub fn pause(&self) {
        self.shared.lock().paused = true;
        tracing::warn!("debug: time stands still, and nothing is delivered");
    }

    /// Let time go on.
    pub fn unpause(&self) {
        self.shared.lock().paused = false;
        self.shared.signals.deadline.notify_one();
        tracing::warn!("debug: time goes on");
    }

    /// Forget all promises and schedules. For tests.
    pub async fn reset(&self) -> Result<(), Error> {
        tracing::warn!("debug: everything is forgotten");
        self.submit(|_| Op::Reset).await.map(drop)
    }

    /// Let everything happen that happens by itself until then. For tests.
    pub async fn tick(&self, at: u64) -> Result<(), Error> {
        self.read(|inner| {
            let mut inner = At::set(inner, Some(at));
            while inner.act(AT_ONCE) {}
        })
        .await
    }
}

impl Inner {
    /// Put a request, and look at what came of it. That is to be held.
    pub(super) fn request<T>(
        &mut self,
        request: Request,
        look: impl FnOnce(Result<Granted, Refusal>, &mut Seen<'_>) -> T,
    ) -> Result<T, Rejection> {
        let halted = match &request {
            Request::Halt { id } => Some(id.clone()),
            _ => None,
        };
        let granted = match self.apply(Op::Request(Box::new(request))) {
            Ok(Reply::Granted(granted)) => Ok(granted),
            Ok(_) => Ok(Granted::Done),
            Err(Rejection::Refused(refusal)) => Err(refusal),
            Err(rejection) => return Err(rejection),
        };
        if let Some(id) = halted.filter(|_| granted.is_ok()) {
            self.halted(&id);
        }
        Ok(self.see(|seen| look(granted, seen)))
    }

    /// Look at the rows. What was seen is to be held.
    pub(super) fn see<T>(&mut self, look: impl FnOnce(&mut Seen<'_>) -> T) -> T {
        look(&mut Seen { inner: self })
    }

    /// Act upon what is due by now, at most `limit` of a kind. `false`: nothing is.
    pub(super) fn act(&mut self, limit: usize) -> bool {
        let now = self.now();
        // Schedules first, for what they make can be due at once; but one at a time, for it can have missed many.
        let schedules = self.view.due_schedules(now, 1);
        let ids = match schedules.is_empty() {
            true => self.view.due(now, limit),
            false => Vec::new(),
        };
        // Neither rejects anything: what isn't due is passed over.
        let _ = match (schedules.is_empty(), ids.is_empty()) {
            (false, _) => self.apply(Op::RunSchedules { ids: schedules }),
            (true, false) => self.apply(Op::Expire { ids }),
            (true, true) => return false,
        };
        true
    }
}

/// The lock, while a request is at work that carries its own time.
struct At<'a> {
    inner: &'a mut Inner,
}

impl At<'_> {
    fn set(inner: &mut Inner, at: Option<u64>) -> At<'_> {
        inner.set_time(at);
        At { inner }
    }
}

impl std::ops::Deref for At<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        self.inner
    }
}

impl std::ops::DerefMut for At<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        self.inner
    }
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        self.inner.set_time(None);
    }
}
