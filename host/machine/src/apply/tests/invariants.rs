//! What holds in every state, and of every step from one state to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::*;

/// Of a state at a time.
pub(super) fn check(state: &Memory, now: u64) {
    let watched = state.promises.values().filter_map(|promise| Some((promise.due_at()?, promise.id.clone())));
    let watched: BTreeSet<_> = watched.collect();
    assert_eq!(state.deadlines, watched, "what is watched is what is to happen by itself");
    for (id, promise) in &state.promises {
        assert_eq!(*id, promise.id);
        assert!(!is_elsewhere(state, id), "{id} is in the wrong partition");
        check_promise(promise, now);
        check_owner(state, promise);
        check_awaiters(state, promise);
        match &promise.execution {
            Some(execution) => check_execution(state, promise, execution),
            None => assert!(!state.journals.contains_key(id) && !state.outputs.contains_key(id), "{id} has no run"),
        }
        let is_run = promise.execution.is_some() || promise.claim().is_some();
        // One for a function that wasn't there is settled from its birth.
        let is_run = is_run || promise.outcome.is_some();
        assert!(promise.function().is_none() || is_run, "{id}: calls are run, here or elsewhere");
        assert!(promise.execution.is_none() || promise.function().is_some(), "{id}: others are not");
        if let Some(foreign) = promise.foreign.as_deref() {
            check_foreign(promise, foreign);
        }
    }
    let mut executions_on = BTreeMap::new();
    for execution in state.promises.values().filter_map(|promise| promise.execution.as_ref()) {
        *executions_on.entry(execution.component).or_insert(0) += 1;
    }
    assert_eq!(state.executions_on, executions_on, "executions are counted by what they run on");
    let mut owners = BTreeMap::new();
    for (name, digest) in &state.current {
        for function in &state.components[digest].functions {
            let owner = owners.insert(&function.name, name);
            assert_eq!(owner, None, "{} has two owners", function.name);
        }
    }
}

fn check_foreign(promise: &Promise, foreign: &Foreign) {
    let id = &promise.id;
    let is_settled = promise.outcome.is_some();
    assert!(!is_settled || foreign.callbacks.is_empty() && foreign.listeners.is_empty(), "{id} is settled and awaited");
    assert!(is_settled || foreign.untold.is_none(), "{id}: nobody is told of what is pending");
    assert!(foreign.untold.as_ref().is_none_or(|untold| !untold.addresses.is_empty()), "{id}: nobody is to be told");
    let Some(claim) = &foreign.claim else { return };
    assert!(promise.execution.is_none(), "{id} is run here and elsewhere");
    assert!(promise.target().is_some(), "{id} has a task and no worker");
    let state = claim.task.state;
    assert_eq!(state == TaskState::Fulfilled, is_settled, "{id}: fulfilled exactly if settled");
    assert_eq!(state == TaskState::Acquired, claim.holder.is_some(), "{id}: held exactly if acquired");
    let has_time = matches!(state, TaskState::Runnable | TaskState::Acquired);
    assert_eq!(has_time, claim.due_at.is_some(), "{id}: something happens by itself exactly if pending or acquired");
}

fn check_promise(promise: &Promise, now: u64) {
    let Promise { id, created_at, timeout_at, .. } = promise;
    assert!(*created_at <= now, "{id} was created in the future");
    let Some(outcome) = &promise.outcome else {
        assert_eq!(promise.settled_at, None, "{id} is pending");
        assert!(created_at < timeout_at, "{id} was born past its deadline, and pending");
        return;
    };
    let at = promise.settled_at.expect("what has an outcome was settled at a time");
    assert!(*created_at <= at && at <= now && at <= *timeout_at, "{id} settled at {at}: {promise:?}");
    let by_deadline = if promise.kind == PromiseKind::Sleep { PromiseState::Resolved } else { PromiseState::TimedOut };
    assert!(at < *timeout_at || outcome.state() == by_deadline, "{id}: at its deadline, a deadline wins: {outcome:?}");
    // What stands for a promise elsewhere is settled when it is known how that one was.
    let is_own_end = at == *timeout_at || matches!(promise.kind, PromiseKind::Remote { .. });
    assert!(is_own_end || *outcome != Outcome::TimedOut, "{id} timed out at {at}, not at its deadline");
    assert!(promise.awaiters.is_empty(), "{id} is settled and awaited");
}

fn check_owner(state: &Memory, promise: &Promise) {
    let Some(Owner { execution: owner, step, detached }) = &promise.owner else { return };
    if is_elsewhere(state, owner) {
        return;
    }
    let Some(parent) = state.promises.get(owner) else {
        return assert!(
            promise.outcome.is_some() && promise.id.is_root(),
            "{owner} was forgotten before {}",
            promise.id
        );
    };
    if promise.id.is_root() && promise.outcome.is_some() {
        // Its owner may have been forgotten, and another one may have the id.
        return;
    }
    let execution = parent.execution.as_ref().expect("owners are executions");
    assert!(*step <= execution.steps);
    if *detached || promise.outcome.is_some() {
        return;
    }
    let ends_with_it = promise.kind.ends_unwanted() || matches!(promise.kind, PromiseKind::Step { .. });
    match &parent.outcome {
        None => assert_eq!(opened(parent, *step), Some(promise.id.clone()), "{} is not open at its owner", promise.id),
        Some(Outcome::Canceled | Outcome::TimedOut) => panic!("{} outlives {owner}, which was ended", promise.id),
        Some(_) => assert!(!ends_with_it, "{} outlives {owner}, and nobody will settle it", promise.id),
    }
    let is_within = promise.timeout_at <= parent.timeout_at || promise.kind == PromiseKind::Sleep;
    assert!(is_within, "{} has a later deadline than its owner", promise.id);
}

fn check_awaiters(state: &Memory, promise: &Promise) {
    for Awaiter { execution, step } in promise.awaiters.iter().filter(|a| !is_elsewhere(state, &a.execution)) {
        let awaiter = &state.promises[execution];
        assert_eq!(opened(awaiter, *step), Some(promise.id.clone()), "{} is awaited by the dead", promise.id);
    }
}

/// Whether an id is one of another partition.
fn is_elsewhere(state: &Memory, id: &Id) -> bool {
    state.partition.is_some_and(|own| own != id.partition())
}

/// The promise that a step of an execution is open for.
fn opened(promise: &Promise, step: u32) -> Option<Id> {
    let other = promise.execution.as_ref()?.open.get(&step)?;
    Some(other.clone().unwrap_or_else(|| promise.id.child(step).unwrap()))
}

fn check_execution(state: &Memory, promise: &Promise, execution: &Execution) {
    let id = &promise.id;
    let Execution { task, ready, open, .. } = execution;
    assert!(state.components.contains_key(&execution.component));
    assert_eq!(task.state == TaskState::Fulfilled, promise.outcome.is_some(), "{id}: fulfilled exactly if settled");
    assert_eq!(task.state == TaskState::Held, execution.held.is_some(), "{id}: held exactly if there is a reason");
    assert!(task.state != TaskState::Suspended || ready.is_empty(), "{id} sleeps on an answer");
    assert!(promise.outcome.is_none() || (ready.is_empty() && open.is_empty()), "{id} has ended, and waits");
    let owned = |other: &&Promise| other.owner.as_ref().is_some_and(|owner| owner.execution == *id);
    let below = state.promises.values().filter(owned).filter(|other| other.id.origin() == id.origin());
    assert_eq!(execution.below as usize, below.count(), "{id}: promises below it");
    let unsettled = state.promises.values().filter(owned).filter(|other| !other.is_over());
    assert_eq!(execution.unsettled as usize, unsettled.count(), "{id}: promises that are not over");
    assert_eq!(execution.outputs as usize, state.outputs.get(id).map_or(0, Vec::len), "{id}: output");

    let entries = &state.journals[id];
    let bytes: u64 = entries.iter().map(Entry::size).sum();
    assert_eq!(execution.journal_bytes, bytes, "{id}: bytes of its journal");
    let is_call = |p: &&Promise| p.kind.is_called();
    let children = state.promises.values().filter(|p| p.outcome.is_none()).filter(is_call);
    let children = children.filter(|p| p.owner.as_ref().is_some_and(|o| o.execution == *id && !o.detached)).count();
    assert!(promise.outcome.is_some() || execution.children as usize == children, "{id}: children");

    let journal = check_journal(promise, execution, entries);
    let mut answered = BTreeSet::new();
    for Ready { step, answer } in ready {
        assert!(answered.insert(*step), "{id}: step {step} is ready twice");
        assert!(!open.contains_key(step), "{id}: step {step} is ready and open");
        if let Answer::Promise(promise) = answer {
            assert!(state.promises[promise].outcome.is_some(), "{id}: step {step} is ready with what is pending");
        }
    }
    for step in open.keys() {
        let awaited = opened(promise, *step).unwrap();
        let promise = &state.promises[&awaited];
        assert_eq!(promise.outcome, None, "{id}: step {step} is open for {awaited}, which is settled");
        let is_awaiter = promise.awaiters.contains(&Awaiter { execution: id.clone(), step: *step });
        let is_own = promise.owner.as_ref().is_some_and(|o| o.execution == *id && o.step == *step && !o.detached);
        assert!(is_awaiter || is_own, "{id}: step {step} is open for {awaited}, for nothing");
        assert!(!is_awaiter || journal.waiting.contains(step), "{id}: step {step} awaits what was told or dropped");
        if is_awaiter {
            answered.insert(*step);
        }
    }
    if promise.outcome.is_none() {
        assert_eq!(answered, journal.waiting, "{id}: each step that waits is ready, or registered where it will be");
    }
}

struct Journal {
    /// Steps that the guest waits for.
    waiting: BTreeSet<u32>,
}

fn check_journal(promise: &Promise, execution: &Execution, entries: &[Entry]) -> Journal {
    let id = &promise.id;
    assert_eq!(execution.entries as usize, entries.len(), "{id}: entries");
    let (mut steps, mut waiting, mut begun) = (0, BTreeSet::new(), BTreeSet::new());
    let mut is_over = false;
    let basis = Basis::of(entries).expect("a journal begins");
    assert_eq!((basis.component, basis.seed), (execution.component, execution.seed), "{id}");
    let forked = entries.iter().rposition(|entry| matches!(entry, Entry::Forked { .. }));
    for (position, entry) in entries.iter().enumerate() {
        assert!(!is_over, "{id}: {entry} after the end");
        assert_eq!(position == 0, matches!(entry, Entry::Started { .. }), "{id}: {entry} at {position}");
        match entry {
            Entry::Started { now, .. } => assert!(*now == promise.created_at || forked.is_some(), "{id}"),
            Entry::Moved { .. } | Entry::Forked { .. } => {}
            Entry::Asked { step, kind } => {
                steps += 1;
                assert_eq!(*step, steps, "{id}: steps have no gap");
                match kind {
                    Kind::Step { .. } => assert!(begun.insert(*step)),
                    Kind::Call { detached: true, .. } | Kind::CreatePromise { .. } => {}
                    _ => assert!(waiting.insert(*step)),
                }
            }
            Entry::Told { step, .. } => assert!(waiting.remove(step), "{id}: told of {step}, which nobody waits for"),
            Entry::Dropped { step } => assert!(waiting.remove(step), "{id}: dropped {step}, which nobody waits for"),
            Entry::Recorded { step, .. } => {
                assert!(begun.contains(step), "{id}: recorded {step}, which was not begun");
            }
            Entry::Finished { state, now } => {
                assert_eq!((*state, Some(*now)), (promise.state(), promise.settled_at), "{id}");
                is_over = true;
            }
        }
    }
    assert_eq!(is_over, promise.outcome.is_some(), "{id}: the last entry is the end, exactly if it has ended");
    assert_eq!(steps, execution.steps, "{id}: steps");
    Journal { waiting }
}

/// Of a record that was applied.
pub(super) fn check_step(
    before: &Memory,
    after: &Memory,
    now: u64,
    record: &Record,
    reply: &Result<Reply, Rejection>,
    changed: bool,
) {
    assert_eq!(changed, before != after, "a record that changes something says so, and no other: {record:?}");
    if record.op == Op::Reset {
        return;
    }
    for (id, promise) in &before.promises {
        let Some(now) = after.promises.get(id) else {
            check_forgotten(before, after, record, promise);
            continue;
        };
        assert!(promise.outcome.is_none() || is_same(promise, now), "{id} was settled, and changed");
        let birth = |p: &Promise| (p.created_at, p.timeout_at, p.param.clone(), p.kind.clone(), p.owner.clone());
        assert_eq!(birth(promise), birth(now), "{id} was reborn");
    }
    let stays = |id: &Id| after.promises.contains_key(id);
    for (id, entries) in before.journals.iter().filter(|(id, _)| stays(id)) {
        assert!(after.journals[id].starts_with(entries), "the journal of {id} was rewritten");
    }
    for (id, output) in before.outputs.iter().filter(|(id, _)| stays(id)) {
        assert!(after.outputs[id].starts_with(output), "the output of {id} was rewritten");
    }
    if reply.is_err() && changed {
        // Only deadlines were observed: where all of them are, there is no difference.
        assert!(expired(before, now) == expired(after, now), "{reply:?} changed the state: {record:?}");
    }
    // Put again, at the same time, to the state that it led to, it doesn't go back on what it said.
    if let (Op::Settle { .. } | Op::CreatePromise { .. } | Op::Invoke { .. } | Op::Install { .. }, Ok(_)) =
        (&record.op, reply)
    {
        let mut again = after.clone();
        let Applied { reply, changed, .. } = apply(&mut again, record.clone());
        let is_same = matches!(reply, Ok(Reply::Done | Reply::Promise { created: false }));
        assert!(is_same && !changed, "again it gave {reply:?}: {record:?}");
    }
}

/// Whether two are one settled promise. Who has been told of it may change, and how much that came of it is there.
fn is_same(before: &Promise, after: &Promise) -> bool {
    let mut before = before.clone();
    if let (Some(before), Some(after)) = (&mut before.foreign, &after.foreign) {
        before.untold = after.untold.clone();
    }
    if let (Some(before), Some(after)) = (&mut before.execution, &after.execution) {
        (before.below, before.unsettled) = (after.below, after.unsettled);
    }
    before == *after
}

/// What was forgotten was asked for, and nobody can miss it.
fn check_forgotten(before: &Memory, after: &Memory, record: &Record, promise: &Promise) {
    let Op::Forget { trees } = &record.op else { panic!("{} was forgotten by {record:?}", promise.id) };
    let asked = trees.iter().filter(|t| t.root.origin() == promise.id.origin() && t.ids.contains(&promise.id));
    let Some(tree) = asked.min_by_key(|tree| tree.retention_ms) else {
        panic!("nobody asked for {} to be forgotten", promise.id)
    };
    // A deadline that had passed has passed, for all that ends with it as well.
    let before = expired(before, record.now);
    let of_tree = |other: &&Promise| other.id.origin() == promise.id.origin();
    for other in before.promises.values().filter(of_tree) {
        assert!(other.outcome.is_some(), "{} was forgotten, and {} is pending", promise.id, other.id);
    }
    let settled_at = before.promises.get(&tree.root).or(before.promises.get(&promise.id)).and_then(|p| p.settled_at);
    let settled_at = settled_at.expect("it was settled");
    assert!(record.now - settled_at >= tree.retention_ms, "{} was forgotten too early", promise.id);
    assert!(!after.journals.contains_key(&promise.id) && !after.outputs.contains_key(&promise.id));
    for other in after.promises.values().filter(|other| other.outcome.is_none()) {
        let Some(execution) = &other.execution else { continue };
        let is_told = execution.ready.iter().any(|ready| ready.answer == Answer::Promise(promise.id.clone()));
        let waits = execution.open.keys().any(|step| opened(other, *step).as_ref() == Some(&promise.id));
        assert!(!is_told && !waits, "{} was forgotten, and {} needs it", promise.id, other.id);
    }
}

/// Of what followed from a record: nobody who has to hear of a change is left out.
pub(super) fn check_effects(before: &Memory, after: &Memory, record: &Record, effects: &[Effect]) {
    for (to, last) in &after.mail.sent {
        let posted = effects.iter().filter(|effect| **effect == Effect::Post(*to)).count();
        let sent = last - before.mail.sent.get(to).copied().unwrap_or(0);
        assert_eq!(posted as u64, sent, "the post hears of each message to {to}: {record:?}");
    }
    let own = match &record.op {
        Op::Progress(progress) => Some(&progress.id),
        _ => None,
    };
    for (id, promise) in &after.promises {
        let is_request = matches!(promise.kind, PromiseKind::Http { .. });
        let is_new = is_request && !before.promises.contains_key(id);
        let sent = effects.iter().filter(|effect| **effect == Effect::Send(id.clone())).count();
        assert_eq!(sent, usize::from(is_new), "{id} is sent {sent} times");
    }
    let task = |state: &Memory, id| Some(state.promises.get(id)?.execution.as_ref()?.task.state);
    for (id, promise) in &after.promises {
        let settled = effects.iter().filter(|effect| **effect == Effect::Settled(id.clone())).count();
        let was_pending = before.promises.get(id).is_some_and(|before| before.outcome.is_none());
        assert!(settled <= usize::from(promise.outcome.is_some()), "{id} was settled {settled} times");
        assert!(settled == 1 || !was_pending || promise.outcome.is_none(), "nobody hears that {id} is settled");
        // The session that records knows where it leaves its own execution.
        let (was, is) = (task(before, id), task(after, id));
        if was == is || own == Some(id) {
            continue;
        }
        let must_run = is == Some(TaskState::Runnable);
        assert!(!must_run || effects.contains(&Effect::Runnable(id.clone())), "nobody hears that {id} can go on");
        let must_stop = is == Some(TaskState::Fulfilled) && was.is_some();
        assert!(!must_stop || effects.contains(&Effect::Stop(id.clone())), "nobody stops the session of {id}");
    }
}

/// The state once every deadline that has passed was observed. In which order that was can be seen in the order of
/// answers alone, which is left out here.
fn expired(state: &Memory, now: u64) -> Memory {
    let mut state = state.clone();
    let is_past = |p: &&Promise| p.outcome.is_none() && p.ends_at().is_some_and(|at| at <= now);
    let unwatched: Vec<Id> = state.promises.values().filter(is_past).map(|p| p.id.clone()).collect();
    let ids = state.due(now).into_iter().chain(unwatched).collect();
    apply(&mut state, Record { now, op: Op::Expire { ids } }).reply.unwrap();
    let executions = state.promises.values_mut().filter_map(|promise| promise.execution.as_mut());
    executions.for_each(|execution| execution.ready.make_contiguous().sort_by_key(|ready| ready.step));
    state
}
