//! How everything ends where nothing goes wrong: one state that has all ids, and no time lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use host_partition::{Answer as Did, Beginning, Told};
use machine::{Answer, Completion, Id, Memory, Op, Outcome, Progress, Record, Reply, TaskState, apply};

use super::START;
use super::cast::{Cast, Guest};
use super::guests::{FUNCTION, Names};

pub fn outcomes(seed: u64, names: &Names, cast: &Cast) -> BTreeMap<Id, Option<Outcome>> {
    let (mut state, mut now) = (Memory::default(), START);
    let timeout_at = START + 1_000_000_000;
    let put = |state: &mut Memory, now, op| apply(state, Record { now, op }).reply;
    put(&mut state, now, Op::Install { component: cast.component() }).expect("it is installed");
    for id in &names.promises {
        put(&mut state, now, Op::CreatePromise { id: id.clone(), param: Bytes::new(), timeout_at })
            .expect("it is made");
    }
    for root in [0, 3] {
        let id = names.roots[root].clone();
        let (function, arguments) = (FUNCTION.into(), names.arguments(seed, &id));
        put(&mut state, now, Op::Invoke { id, function, arguments, timeout_at, seed: 1 }).expect("it is called");
    }
    for id in &names.promises {
        let outcome = names.value(id).expect("it is one of these");
        put(&mut state, now, Op::Settle { id: id.clone(), outcome }).expect("it is settled");
    }
    let mut guests: BTreeMap<Id, (Guest, u32)> = BTreeMap::new();
    loop {
        let due = state.due(now);
        let _ = put(&mut state, now, Op::Expire { ids: due });
        let is_runnable = |promise: &&machine::Promise| {
            promise.execution.as_ref().is_some_and(|execution| execution.task.state == TaskState::Runnable)
        };
        let Some(promise) = state.promises.values().find(is_runnable).cloned() else {
            match state.deadlines.first().map(|(at, _)| *at).filter(|at| *at < timeout_at) {
                Some(at) => now = at,
                None => break,
            }
            continue;
        };
        let id = promise.id.clone();
        let (version, told, (guest, did)) = match guests.remove(&id) {
            None => {
                let Ok(Reply::Acquired { version }) = put(&mut state, now, Op::Acquire { id: id.clone() }) else {
                    continue;
                };
                let beginning = Beginning::with(&promise, state.journals[&id].clone(), Default::default());
                let beginning = beginning.expect("it is an execution");
                (version, None, cast.begin(names, seed, beginning, usize::MAX))
            }
            Some((guest, version)) => {
                let ready = promise.execution.as_ref().and_then(|execution| execution.ready.front());
                let told = ready.map(|ready| {
                    let completion = match &ready.answer {
                        Answer::Here(completion) => completion.clone(),
                        Answer::Promise(id) => {
                            Completion::Settled(state.promises[id].outcome.clone().expect("it is settled"))
                        }
                    };
                    Told { step: ready.step, completion, now }
                });
                (version, told.as_ref().map(|told| (told.step, now)), guest.go_on(told, usize::MAX))
            }
        };
        let Did::Turn { events, output, rest } = did else { panic!("{id} can't be run") };
        let progress = Progress { id: id.clone(), version, told, events, output, rest };
        put(&mut state, now, Op::Progress(progress)).expect("it is a turn");
        if let Some(guest) = guest {
            guests.insert(id, (guest, version));
        }
    }
    state.promises.into_values().map(|promise| (promise.id, promise.outcome)).collect()
}
