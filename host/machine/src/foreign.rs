//! What a promise has because of clients of the promise protocol: tags, values with headers, the claim of a worker
//! elsewhere, and whoever is to be told when it is settled.
//!
//! Most promises are steps of guests and have none of it, so all of it is behind one pointer. What the protocol shows of
//! those is derived from what they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Id, Promise, PromiseKind, Task, TaskState};

/// Names and values that a client gave.
pub type Tags = BTreeMap<String, String>;

/// The address of whoever is to run the promise's function.
pub const TARGET: &str = "resonate:target";
/// `true`: it resolves by itself, at its deadline.
pub const TIMER: &str = "resonate:timer";
/// `true`: somebody outside settles it.
pub const EXTERNAL: &str = "resonate:external";
/// `global`: the clients' libraries say so of what isn't theirs alone to settle.
pub const SCOPE: &str = "resonate:scope";
/// Not to be offered to a worker before this time, in milliseconds since the Unix epoch.
pub const DELAY: &str = "resonate:delay";
/// The root of the call tree.
pub const ORIGIN: &str = "resonate:origin";
/// The execution, by a worker, of which it is a part.
pub const BRANCH: &str = "resonate:branch";
/// The promise whose execution made it.
pub const PARENT: &str = "resonate:parent";
/// The schedule that made it.
pub const SCHEDULE: &str = "resonate:schedule";

/// The longest address.
const MAX_ADDRESS_BYTES: usize = 2048;

/// What a promise has beyond what all have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// As its creator gave them. None: it was made here, and they are derived.
    pub tags: Option<Tags>,
    /// How what it was created with was written.
    pub param: Form,
    /// How what it was settled with was written.
    pub value: Form,
    /// The claim on it, if a worker elsewhere is to settle it.
    pub claim: Option<Claim>,
    /// The tasks that wait for it.
    pub callbacks: BTreeSet<Id>,
    /// The addresses that are told once it is settled.
    pub listeners: BTreeSet<String>,
    /// The addresses that haven't been told yet.
    pub untold: Option<Untold>,
    /// The promises that name it as their branch, the first of them.
    pub branch: BTreeSet<Id>,
}

/// How a client wrote a value: headers, and a text that stands for the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// None: there were none at all.
    pub headers: Option<Tags>,
    /// The text.
    pub data: Data,
}

/// The text of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// It is derived from the payload: the base64 of the JSON that it is; without a payload, there is no text.
    #[default]
    Encoded,
    /// This, which can't be derived. The payload is what a guest sees of it.
    Text(String),
}

/// The claim of a worker elsewhere on settling a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its state, and the fence.
    pub task: Task,
    /// Who has it, while it is acquired.
    pub holder: Option<Holder>,
    /// When a pending one is offered, and when an acquired one is lost. None: nothing happens to it by itself.
    pub due_at: Option<u64>,
    /// What it waited for and was settled since it was last acquired or suspended.
    pub resumes: BTreeSet<Id>,
}

/// Who has a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The worker's own name.
    pub pid: String,
    /// How long it keeps the task without a sign of life.
    pub ttl_ms: u64,
}

/// Addresses that are to be told of a settled promise, until they have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// Which.
    pub addresses: BTreeSet<String>,
    /// How often they were written to.
    pub attempts: u32,
    /// When they are written to again.
    pub due_at: u64,
}

/// A task, as the protocol shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView<'a> {
    /// In the protocol's words.
    pub state: &'static str,
    /// The fence.
    pub version: u32,
    /// Who has it.
    pub holder: Option<Cow<'a, Holder>>,
    /// How much of what it waits for was settled.
    pub resumes: usize,
    /// When it is offered next, or lost.
    pub due_at: Option<u64>,
}

impl Foreign {
    /// About how many bytes it has.
    pub fn size(&self) -> usize {
        let tags =
            |tags: &Option<Tags>| tags.iter().flatten().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let form = |form: &Form| tags(&form.headers) + form.data.size();
        let ids = self.callbacks.iter().chain(&self.branch).map(|id| id.as_str().len()).sum::<usize>();
        let listeners = self.listeners.iter().map(String::len).sum::<usize>();
        let claim = self.claim.iter().flat_map(|claim| &claim.resumes).map(|id| id.as_str().len()).sum::<usize>();
        let untold = self.untold.iter().flat_map(|untold| &untold.addresses).map(String::len).sum::<usize>();
        tags(&self.tags) + form(&self.param) + form(&self.value) + ids + listeners + claim + untold
    }
}

impl Data {
    /// How long the text is, where it is kept.
    pub fn size(&self) -> usize {
        match self {
            Data::Text(text) => text.len(),
            Data::Encoded => 0,
        }
    }
}

/// Whether a promise with these tags resolves by itself.
pub fn is_timer(tags: &Tags) -> bool {
    tags.get(TIMER).is_some_and(|value| value == "true")
}

/// Whether a promise with these tags is a timer that has a worker, which is a contradiction. The sleeps of some
/// libraries say so nevertheless, for the sake of servers that observe the deadlines of targeted promises only; those
/// are known by their scope, and are timers.
pub(crate) fn is_timer_with_target(tags: &Tags) -> bool {
    is_timer(tags) && tags.contains_key(TARGET) && !tags.contains_key(SCOPE)
}

/// The address of the worker that settles a promise with these tags.
pub fn target(tags: &Tags) -> Option<&str> {
    if is_timer(tags) { None } else { tags.get(TARGET).map(String::as_str) }
}

/// Whether something can be delivered to an address: a URL, or a group of workers that hold a connection open.
pub fn is_address(address: &str) -> bool {
    let has_rest = |prefix: &str| address.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    if address.len() > MAX_ADDRESS_BYTES || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return false;
    }
    let group = || address.strip_prefix("poll://").and_then(|rest| rest.split_once('@')).map(|(_, group)| group);
    has_rest("http://") || has_rest("https://") || group().is_some_and(|group| !group.is_empty())
}

impl Promise {
    /// The tags that its creator gave, if a client of the protocol did.
    pub fn given_tags(&self) -> Option<&Tags> {
        self.foreign.as_ref().and_then(|foreign| foreign.tags.as_ref())
    }

    /// Its tags. `host`: the address of this host's own functions.
    pub fn tags(&self, host: &str) -> Cow<'_, Tags> {
        match self.given_tags() {
            Some(tags) => Cow::Borrowed(tags),
            None => Cow::Owned(self.derived_tags(host)),
        }
    }

    fn derived_tags(&self, host: &str) -> Tags {
        let id = self.id.to_string();
        let parent = self.owner.as_ref().map_or_else(|| id.clone(), |owner| owner.execution.to_string());
        use PromiseKind as K;
        let is_step = matches!(self.kind, K::Step { .. } | K::Http { .. } | K::Remote { .. });
        let mut tags = Tags::from([
            (SCOPE.into(), if is_step { "local" } else { "global" }.into()),
            (ORIGIN.into(), self.id.origin().into()),
            (BRANCH.into(), if is_step { parent.clone() } else { id }),
            (PARENT.into(), parent),
        ]);
        match self.kind {
            K::Call { .. } => drop(tags.insert(TARGET.into(), host.into())),
            K::Sleep => drop(tags.insert(TIMER.into(), "true".into())),
            K::External => drop(tags.insert(EXTERNAL.into(), "true".into())),
            K::Step { .. } | K::Http { .. } | K::Remote { .. } => {}
        }
        tags
    }

    /// The address of the worker that is to settle it.
    pub fn target(&self) -> Option<&str> {
        self.given_tags().and_then(target)
    }

    /// Whether anybody but its creator can wait for it. Its deadline is watched then; that of any other promise is
    /// found passed by whoever looks at it.
    pub fn is_external(&self) -> bool {
        let Some(tags) = self.given_tags() else {
            return !matches!(self.kind, PromiseKind::Step { .. } | PromiseKind::Remote { .. });
        };
        let is = |name: &str, value: &str| tags.get(name).is_some_and(|given| given == value);
        tags.contains_key(TARGET) || is(EXTERNAL, "true") || is(TIMER, "true") || is(SCOPE, "global")
    }

    /// Whether it has a task: here, or elsewhere.
    pub fn has_task(&self) -> bool {
        self.execution.is_some() || self.claim().is_some()
    }

    /// The claim of a worker elsewhere.
    pub fn claim(&self) -> Option<&Claim> {
        self.foreign.as_ref().and_then(|foreign| foreign.claim.as_ref())
    }

    /// When something is to happen to it by itself.
    pub fn due_at(&self) -> Option<u64> {
        let foreign = self.foreign.as_deref();
        if self.outcome.is_some() {
            return foreign.and_then(|foreign| foreign.untold.as_ref()).map(|untold| untold.due_at);
        }
        let deadline = self.is_external().then_some(self.timeout_at);
        let claim = foreign.and_then(|foreign| foreign.claim.as_ref()).and_then(|claim| claim.due_at);
        deadline.into_iter().chain(claim).min()
    }

    /// When it has ended at the latest, if it has or nothing else is needed for that.
    pub fn ends_at(&self) -> Option<u64> {
        let is_watched_by_nobody = self.given_tags().is_some() && !self.is_external();
        self.settled_at.or(is_watched_by_nobody.then_some(self.timeout_at))
    }

    /// What it has because of the protocol, to add to.
    pub(crate) fn foreign_mut(&mut self) -> &mut Foreign {
        self.foreign.get_or_insert_with(Box::default)
    }

    /// Its task, as the protocol shows it. `host`: the name that the host has as a worker.
    pub fn task_view(&self, host: &str) -> Option<TaskView<'_>> {
        if let Some(claim) = self.claim() {
            return Some(TaskView {
                state: claim.task.state.as_protocol(),
                version: claim.task.version,
                holder: claim.holder.as_ref().map(Cow::Borrowed),
                resumes: claim.resumes.len(),
                due_at: claim.due_at,
            });
        }
        let execution = self.execution.as_deref()?;
        let state = match execution.task.state {
            TaskState::Runnable if execution.task.version > 0 => TaskState::Acquired,
            state => state,
        };
        let holder = (state == TaskState::Acquired).then(|| Cow::Owned(Holder { pid: host.into(), ttl_ms: 0 }));
        Some(TaskView {
            state: state.as_protocol(),
            version: execution.task.version,
            holder,
            resumes: execution.ready.len(),
            due_at: None,
        })
    }
}

impl Claim {
    /// It can be offered from this time on.
    pub(crate) fn offered_at(at: u64) -> Claim {
        let task = Task { state: TaskState::Runnable, version: 0 };
        Claim { task, holder: None, due_at: Some(at), resumes: BTreeSet::new() }
    }

    /// Nobody has it, and nothing happens to it by itself.
    pub(crate) fn put(&mut self, state: TaskState) {
        self.task.state = state;
        self.holder = None;
        self.due_at = None;
    }
}
