//! Eight clients at once, and what they saw held against the reference: was there an order of their requests in which
//! it would have answered each as it was answered?
//!
//! The clock stands while they ask, and moves when all are done. `HISTORY_SEED` and `HISTORY_ROUNDS` choose another
//! history, or a longer one.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use model::{Action, Dice, Request, Requests, Server, State};
use serde_json::Value;
use tests::{Call, Client, Random, number, outcomes};

use crate::{debugged, json, snap, tick};

const CLIENTS: usize = 8;
const ROOTS: usize = 4;
/// Of each client in a round.
const REQUESTS: usize = 5;
/// How many answers are forged, at most, one at a time.
const FORGED: usize = 20;
const BEGIN: u64 = 1_800_000_000_000;

/// A request of a client, and its answer.
#[derive(Clone, Debug)]
struct Operation {
    request: Request,
    status: u64,
    data: Value,
}

/// What all clients did while the clock stood, by the root that it was about.
struct Round {
    now: u64,
    ticked: bool,
    calls: BTreeMap<usize, Vec<Call<Operation>>>,
}

#[test]
fn what_eight_clients_see_could_have_happened_in_some_order() {
    let host = debugged();
    let rounds = history(&host);
    let states: Vec<HashSet<Server>> =
        (0..ROOTS).map(|root| check(&rounds, root).unwrap_or_else(|error| panic!("{error}"))).collect();

    // What is there in the end is what one of the orders leaves.
    let now = rounds.last().expect("there are rounds").now;
    let snapshot = snap(&host, now);
    let seen: BTreeMap<&str, Value> = snapshot["promises"]
        .as_array()
        .expect("it is an array")
        .iter()
        .map(|promise| (promise["id"].as_str().expect("ids are text"), json::promise_of(promise)))
        .collect();
    for (root, states) in states.iter().enumerate() {
        let is_left = |server: &Server| {
            let ids = ids(root);
            ids.iter().all(|id| server.state.promises.get(id).map(json::of_promise).as_ref() == seen.get(id.as_str()))
        };
        assert!(states.iter().any(is_left), "no order leaves what is there of r{root}: {seen:#?}");
    }
}

#[test]
fn a_wrong_history_is_found_out() {
    let host = debugged();
    let rounds = history(&host);
    // Where an answer tells of a pending promise: the round, the root, and which call of it.
    let mut pending = Vec::new();
    for (n, round) in rounds.iter().enumerate() {
        for (&root, calls) in &round.calls {
            let is_pending = |call: &Call<Operation>| call.operation.data["promise"]["state"] == "pending";
            pending.extend((0..calls.len()).filter(|&at| is_pending(&calls[at])).map(|at| (n, root, at)));
        }
    }
    let some = pending.iter().step_by(pending.len().div_ceil(FORGED).max(1));
    let mut forged = 0;
    for &(n, root, at) in some {
        let mut wrong: Vec<Round> = rounds.iter().map(|round| Round { calls: round.calls.clone(), ..*round }).collect();
        let promise = &mut wrong[n].calls.get_mut(&root).expect("it has calls")[at].operation.data["promise"];
        promise["state"] = "resolved".into();
        promise["settledAt"] = promise["createdAt"].clone();
        // Nobody sends this: another client could well have settled it in the same instant, with what clients do send.
        promise["value"] = serde_json::json!({ "headers": {}, "data": "forged" });
        assert!(check(&wrong, root).is_err(), "an answer of round {n} about r{root} was forged");
        forged += 1;
    }
    assert!(forged >= FORGED / 2, "only {} answers told of pending promises", pending.len());
}

/// The states that the server can be in after these rounds, as far as this root is concerned.
fn check(rounds: &[Round], root: usize) -> Result<HashSet<Server>, String> {
    let mut states = HashSet::from([Server { state: State::default(), retry_ms: 5_000 }]);
    for round in rounds {
        if round.ticked {
            let ticked = |mut server: Server| {
                server.tick(round.now);
                server
            };
            states = states.into_iter().map(ticked).collect();
        }
        let calls = round.calls.get(&root).map(Vec::as_slice).unwrap_or_default();
        let after = outcomes(&states, calls, |server, operation| {
            let mut next = server.clone();
            let (response, _) = next.request(&operation.request, round.now);
            json::difference(&response, operation.status, &operation.data).is_none().then_some(next)
        });
        if after.is_empty() {
            let calls: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
            return Err(format!("no order explains, at {}:\n{}\nfrom {states:#?}", round.now, calls.join("\n")));
        }
        states = after;
    }
    Ok(states)
}

/// Have eight clients ask at random.
fn history(host: &Client) -> Vec<Round> {
    let seed = Random::from_env("HISTORY_SEED").below(u64::MAX);
    let count = number("HISTORY_ROUNDS").unwrap_or(60) as usize;
    let mut dice = Dice::new(seed);
    let requests: Vec<Requests> = (0..ROOTS).map(requests).collect();
    // What is there by now, more or less: so that most requests mean something.
    let guess = Mutex::new(Server { state: State::default(), retry_ms: 5_000 });
    let begun = Instant::now();
    let mut now = BEGIN;
    let mut rounds = Vec::new();
    for n in 0..count {
        now += dice.pick(&[1, 1, 5, 30, 200, 6_000]);
        let ticked = dice.one_in(3);
        if ticked {
            tick(host, now);
            guess.lock().expect("no client panics").tick(now);
        }
        let calls = Mutex::new(BTreeMap::<usize, Vec<Call<Operation>>>::new());
        let barrier = Barrier::new(CLIENTS);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let mut dice = Dice::new(seed ^ ((n * CLIENTS + client) as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
                let (requests, guess, calls, barrier) = (&requests, &guess, &calls, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..REQUESTS {
                        let root = dice.below(ROOTS);
                        let known = below(&guess.lock().expect("no client panics").state, root);
                        let request = requests[root].next(&mut dice, &known, now);
                        // HTTP refuses an action that makes no sense before the reference looks at it.
                        if matches!(&request, Request::TaskFence { action: Action::Settle(settle), .. } if !settle.state.is_settable()) {
                            continue;
                        }
                        let (kind, data) = json::of_request(&request);
                        let at = begun.elapsed().as_nanos() as u64;
                        let reply = host.ask_at(now, kind, data);
                        let ended = begun.elapsed().as_nanos() as u64;
                        guess.lock().expect("no client panics").request(&request, now);
                        let operation = Operation { request, status: reply.status, data: reply.data };
                        let call = Call { begun: at, ended, operation };
                        calls.lock().expect("no client panics").entry(root).or_default().push(call);
                    }
                });
            }
        });
        rounds.push(Round { now, ticked, calls: calls.into_inner().expect("no client panicked") });
    }
    rounds
}

fn ids(root: usize) -> Vec<String> {
    ["", ":1", ":2", ":3", ":1.1", ":1.2", ":2.1"].iter().map(|path| format!("r{root}{path}")).collect()
}

fn requests(root: usize) -> Requests {
    Requests {
        ids: ids(root),
        schedules: Vec::new(),
        targets: vec!["poll://any@workers".into()],
        workers: vec!["w1".into(), "w2".into()],
    }
}

/// What there is of one root.
fn below(state: &State, root: usize) -> State {
    let mut state = state.clone();
    let is_below = |id: &String| id.starts_with(&format!("r{root}"));
    state.promises.retain(|id, _| is_below(id));
    state.tasks.retain(|id, _| is_below(id));
    state
}
