//! What the host is kept busy with, and how two runs of it compare.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Client, Look, Setup};

use crate::driver::Driver;

/// A call of a function, the same whenever it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) function: &'static str,
    pub(crate) arguments: fn(id: &str) -> Value,
    pub(crate) outsider: Outsider,
    /// Whether several things happen at once, so that the order of its journal may differ.
    pub(crate) is_concurrent: bool,
}

/// What somebody outside has to do for it to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outsider {
    Nothing,
    /// Settle the promise of this step.
    SettleStep(u32),
    /// Make a promise beforehand, and settle it: `<id>-promise`.
    MakeAndSettle,
}

const fn plain(name: &'static str, function: &'static str, arguments: fn(&str) -> Value) -> Workload {
    Workload { name, function, arguments, outsider: Outsider::Nothing, is_concurrent: false }
}

const fn concurrent(workload: Workload) -> Workload {
    Workload { is_concurrent: true, ..workload }
}

pub(crate) const WORKLOADS: [Workload; 14] = [
    plain("countdown", "countdown", |_| json!([5, 15])),
    concurrent(plain("fibonacci", "fibonacci", |_| json!([6]))),
    plain("transfer", "transfer", |_| json!(["ann", "bob", 500, "none", 10])),
    plain("refusal", "transfer", |_| json!(["ann", "bob", 500, "withdraw", 10])),
    plain("refund", "transfer", |_| json!(["ann", "bob", 500, "deposit", 10])),
    plain("crash", "transfer", |_| json!(["ann", "bob", 500, "deposit-crash", 10])),
    concurrent(plain("pipeline", "pipeline", |_| json!([20, 30]))),
    plain("panic", "dispatch", |_| json!([10, 0])),
    plain("chatter", "slow_chatter", |_| json!([6, 20])),
    plain("children", "children", |_| json!([4, 8])),
    plain("steps", "steps", |_| json!([5, 5])),
    plain("bare", "bare_step", |_| json!([])),
    // Reminders would come in a number that depends on time: there are none.
    Workload {
        outsider: Outsider::SettleStep(1),
        ..concurrent(plain("approval", "approval", |_| json!(["a holiday", 3_600_000, 36_000_000])))
    },
    Workload {
        outsider: Outsider::MakeAndSettle,
        ..plain("waiter", "wait_for", |id| json!([format!("{id}-promise")]))
    },
];

/// How each looks when nothing disturbs it.
pub(crate) type References = BTreeMap<&'static str, Look>;

/// Run each once, on a host that is left alone.
pub(crate) fn references() -> References {
    let host = Setup::new().start();
    let driver = Driver::new(&host);
    let look = |workload: &Workload| {
        let id = format!("{}-reference", workload.name);
        driver.drive(workload, &id);
        (workload.name, seen(&host, workload, &id))
    };
    WORKLOADS.iter().map(look).collect()
}

/// Hold an execution against the undisturbed one.
pub(crate) fn compare(client: &Client, references: &References, workload: &Workload, id: &str) {
    let (expected, seen) = (&references[workload.name], seen(client, workload, id));
    if let Some(difference) = expected.difference(&seen) {
        panic!("{id} ({}) is not as it is without kills: {difference}", workload.function);
    }
}

fn seen(client: &Client, workload: &Workload, id: &str) -> Look {
    let look = Look::at(client, id);
    match workload.name {
        // `select!` polls in an order that is drawn for each run, so the steps have other numbers.
        "approval" => look.without_steps(),
        _ if workload.is_concurrent => look.unordered(),
        _ => look,
    }
}
