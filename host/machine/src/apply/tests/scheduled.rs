//! Schedules, and the occurrences that were missed.

use super::conformance::{DONE, WORKERS, tags};
use super::*;

const MINUTE: u64 = 60_000;

fn schedule(id: &str, cron: &str, timeout_ms: u64) -> Request {
    let template = Template { param: text("1"), form: Form::default(), tags: tags(&[(TARGET, WORKERS)]), call: None };
    Request::CreateSchedule(NewSchedule {
        id: id.into(),
        cron: cron.into(),
        promise_id: "{{.id}}-{{.timestamp}}".into(),
        promise_timeout_ms: timeout_ms,
        template,
    })
}

impl World {
    fn run(&mut self, schedule: &str) {
        self.put(Op::RunSchedules { ids: vec![schedule.into()] }).unwrap();
    }
}

#[test]
fn a_schedule_makes_promises_at_its_times() {
    let mut world = World::new();
    assert_eq!(world.ask(schedule("s", "* * * * *", MINUTE)), DONE);
    assert_eq!(world.state.schedules["s"].next_run_at, MINUTE);
    assert_eq!(world.ask(schedule("s", "0 0 * * *", 1)), DONE);
    assert_eq!(world.state.schedules["s"].cron, "* * * * *");
    world.at(MINUTE - 1).run("s");
    assert_eq!(world.state.promises.len(), 0);
    world.at(MINUTE + 10).run("s");
    let promise = world.get("s-60000");
    assert_eq!((promise.created_at, promise.timeout_at), (MINUTE, 2 * MINUTE));
    assert_eq!(promise.given_tags().unwrap()[ORIGIN], "s-60000");
    assert!(world.offered("s-60000"));
    let schedule = &world.state.schedules["s"];
    assert_eq!((schedule.last_run_at, schedule.next_run_at), (Some(MINUTE), 2 * MINUTE));
}

#[test]
fn missed_occurrences_are_made_up_for_each_at_its_time() {
    let mut world = World::new();
    world.ask(schedule("s", "* * * * *", 90_000)).unwrap();
    world.at(3 * MINUTE + 1).run("s");
    let state = |minute: u64| {
        (world.get(&format!("s-{}", minute * MINUTE)).created_at, world.state(&format!("s-{}", minute * MINUTE)))
    };
    assert_eq!(state(1), (MINUTE, PromiseState::TimedOut));
    assert_eq!(state(2), (2 * MINUTE, PromiseState::Pending));
    assert_eq!(state(3), (3 * MINUTE, PromiseState::Pending));
    assert!(world.offered("s-120000") && world.offered("s-180000") && !world.offered("s-60000"));
}

#[test]
fn a_long_downtime_is_made_up_for_in_pieces() {
    let mut world = World::new();
    world.ask(schedule("s", "* * * * *", 1)).unwrap();
    world.at(1_000 * MINUTE).run("s");
    assert_eq!((world.state.promises.len(), world.state.schedules["s"].next_run_at), (256, 257 * MINUTE));
    for _ in 0..3 {
        world.run("s");
    }
    assert_eq!((world.state.promises.len(), world.state.schedules["s"].next_run_at), (1_000, 1_001 * MINUTE));
}

#[test]
fn a_promise_that_is_there_is_left_as_it_is() {
    let mut world = World::new();
    world.ask(schedule("s", "* * * * *", MINUTE)).unwrap();
    world.external("s-60000", FAR);
    world.at(MINUTE).run("s");
    assert_eq!(world.get("s-60000").claim(), None);
    assert_eq!(world.state.schedules["s"].last_run_at, Some(MINUTE));
}

#[test]
fn what_makes_no_schedule_is_refused() {
    let mut world = World::new();
    assert_eq!(world.ask(schedule("s", "soon", 1)), Err(Refusal::Cron));
    assert_eq!(world.ask(schedule("s", "0 0 31 2 *", 1)), Err(Refusal::Cron));
    assert_eq!(world.ask(Request::DeleteSchedule { id: "s".into() }), Err(Refusal::NoSchedule));
    world.ask(schedule("s", "* * * * *", 1)).unwrap();
    assert_eq!(world.ask(Request::DeleteSchedule { id: "s".into() }), DONE);
    world.at(MINUTE).run("s");
    assert!(world.state.promises.is_empty());
}

#[test]
fn there_are_no_more_schedules_than_fit_into_memory() {
    let mut world = World::new();
    world.ask(schedule("s", "* * * * *", MINUTE)).unwrap();
    let one = world.state.schedules["s"].clone();
    for n in 1..9_999 {
        world.state.put_schedule(Schedule { id: format!("s-{n}"), ..one.clone() });
    }
    assert_eq!(world.ask(schedule("last", "* * * * *", MINUTE)), DONE);
    assert_eq!(world.ask(schedule("more", "* * * * *", MINUTE)), Err(Refusal::ManySchedules));
    assert_eq!(world.ask(schedule("last", "* * * * *", MINUTE)), DONE, "it is there");
}
