//! The reference by itself: what its own invariants say of it, and that they can say something.

use std::collections::BTreeMap;

use model::{Create, Dice, PromiseState, Request, Requests, Server, Settle, State, Value, broken, broken_by};

#[test]
fn the_invariants_hold_of_the_reference() {
    let mut statuses = BTreeMap::<(String, u16), u32>::new();
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let requests = requests();
        let mut server = Server { state: State::default(), retry_ms: 5_000 };
        let mut now = 1_000_000;
        for _ in 0..120 {
            now += dice.pick(&[0, 0, 0, 1, 1, 5, 30, 200, 6_000]);
            let before = server.state.clone();
            let is_tick = dice.one_in(8);
            let (what, messages) = if is_tick {
                ("tick".into(), server.tick(now))
            } else {
                let request = requests.next(&mut dice, &server.state, now);
                let (response, messages) = server.request(&request, now);
                let name = format!("{request:?}");
                let kind = name.split([' ', '(']).next().unwrap_or_default().to_owned();
                *statuses.entry((kind, response.status)).or_default() += 1;
                (name, messages)
            };
            let wrong =
                broken(&server.state, now).or_else(|| broken_by(&before, &server.state, &messages, now, is_tick));
            assert_eq!(wrong, None, "seed {seed}, at {now}, {what}\nfrom {before:#?}\nto {:#?}", server.state);
        }
    }
    // A request that is never answered in one of its ways tests less than it seems to.
    println!("{statuses:#?}");
    for (kind, expected) in [
        ("PromiseRegisterCallback", &[200, 400, 404, 422][..]),
        ("PromiseRegisterListener", &[200, 400, 404, 422]),
        ("PromiseSettle", &[200, 400, 404]),
        ("TaskCreate", &[200, 400, 409, 422]),
        ("TaskAcquire", &[200, 404, 409]),
        ("TaskFence", &[200, 400, 404, 409]),
        ("TaskSuspend", &[200, 300, 400, 404, 409, 422]),
        ("TaskFulfill", &[200, 400, 404, 409]),
        ("TaskRelease", &[200, 404, 409]),
        ("TaskHalt", &[200, 404, 409]),
        ("TaskContinue", &[200, 404, 409]),
        ("ScheduleCreate", &[200, 400]),
        ("ScheduleDelete", &[200, 404]),
    ] {
        for status in expected {
            let count = statuses.get(&(kind.to_owned(), *status)).copied().unwrap_or_default();
            assert!(count >= 5, "{kind} was answered {status} only {count} times");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let mut server = Server { state: State::default(), retry_ms: 5_000 };
    let id = || "r".to_owned();
    let tags = [("resonate:external".to_owned(), "true".to_owned())].into();
    let create = Create { id: id(), timeout_at: 2_000, param: Value::default(), tags };
    let settle = Settle { id: id(), state: PromiseState::Resolved, value: Value::default() };
    server.request(&Request::PromiseCreate(create), 1_000);
    server.request(&Request::PromiseSettle(settle), 1_001);
    let before = server.state.clone();
    assert_eq!(broken(&before, 1_001), None);

    let promise = server.state.promises.get_mut("r").unwrap();
    promise.state = PromiseState::RejectedTimedout;
    let wrong = broken_by(&before, &server.state, &[], 1_002, false).unwrap();
    assert!(wrong.starts_with("preserved_settled_promise_record"), "{wrong}");
    let wrong = broken(&server.state, 1_002).unwrap();
    assert!(wrong.starts_with("well_formed_promise_timedout_is_server_owned"), "{wrong}");
}

fn requests() -> Requests {
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Requests {
        ids: text(&["r", "r:1", "r:2", "r:3", "r:4", "r:1.1", "r:1.2", "r:2.1", "r:2.2", "r:2.1.1"]),
        schedules: text(&["daily", "hourly"]),
        targets: text(&["poll://any@workers", "http://127.0.0.1:9/work"]),
        workers: text(&["w1", "w2"]),
    }
}
