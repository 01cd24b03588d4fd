use super::*;
use crate::CallOptions;

fn text(text: &str) -> Payload {
    Payload::copy_from_slice(text.as_bytes())
}

fn asked(step: u32, ask: Ask) -> Event {
    Event::Asked { step, ask }
}

fn sleep(step: u32, until_ms: u64) -> Event {
    asked(step, Ask::Sleep { until_ms })
}

fn call(step: u32, arguments: &str) -> Event {
    let (function, arguments, options) = ("pay".into(), text(arguments), CallOptions::default());
    asked(step, Ask::Call { function, arguments, options, detached: false })
}

fn told(step: u32, now: u64) -> Entry {
    Entry::Told { step, completion: Completion::Done, now }
}

fn tell(step: u32, now: u64) -> Replayed {
    Replayed::Tell { step, completion: Completion::Done, now }
}

fn resolved(value: &str) -> Outcome {
    Outcome::Resolved(text(value))
}

/// A journal of these entries after the first.
fn journal(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let started = Entry::Started { component: Digest([1; 32]), seed: 7, now: 1000 };
    std::iter::once(started).chain(entries).collect()
}

/// Two sleeps, the first told and the second dropped, and a result.
fn whole() -> Vec<Entry> {
    let finished = Entry::Finished { state: PromiseState::Resolved, now: 3000 };
    let drop = Entry::of(&Event::Dropped { step: 2 });
    journal([Entry::of(&sleep(1, 2000)), Entry::of(&sleep(2, 3000)), told(1, 2000), drop, finished])
}

/// The message of a run that differs from [`whole`]: it does these events, and at the end rests or finishes.
fn differs(first: &[Event], second: &[Event], end: Option<Outcome>) -> String {
    let run = || {
        let mut replay = Replay::new(whole());
        first.iter().try_for_each(|event| replay.observe(event).map(|_| ()))?;
        assert_eq!(replay.rest()?, tell(1, 2000));
        second.iter().try_for_each(|event| replay.observe(event).map(|_| ()))?;
        match end {
            Some(outcome) => replay.finish(&outcome).map(|_| ()),
            None => replay.rest().map(|_| ()),
        }
    };
    let result: Result<(), Divergence> = run();
    let message = result.expect_err("it should differ").to_string();
    message.strip_prefix("the replay differs at ").expect("it begins like this").to_owned()
}

#[test]
fn an_equal_run_is_led_to_its_end() {
    let mut replay = Replay::new(whole());
    assert_eq!(replay.observe(&sleep(1, 2000)), Ok(true));
    assert_eq!(replay.observe(&sleep(2, 3000)), Ok(true));
    assert_eq!(replay.rest(), Ok(tell(1, 2000)));
    assert_eq!(replay.observe(&Event::Dropped { step: 2 }), Ok(true));
    assert!(!replay.is_over());
    assert_eq!(replay.finish(&resolved("1")), Ok(true));
    assert!(replay.is_over());
}

#[test]
fn what_comes_after_the_end_of_the_journal_is_new() {
    let mut replay = Replay::new(journal([Entry::of(&sleep(1, 2000))]));
    assert_eq!(replay.observe(&sleep(1, 2000)), Ok(true));
    assert!(replay.is_over());
    assert_eq!(replay.observe(&sleep(2, 3000)), Ok(false));
    assert_eq!(replay.rest(), Ok(Replayed::End));
    assert_eq!(replay.finish(&resolved("1")), Ok(false));
}

#[test]
fn a_journal_can_end_anywhere() {
    // Cut after each entry: what is there is checked, what isn't is new, and nothing differs.
    let whole = whole();
    for length in 0..=whole.len() {
        let mut replay = Replay::new(whole[..length].to_vec());
        let has = |position: usize| Ok(position < length);
        assert_eq!(replay.observe(&sleep(1, 2000)), has(1));
        assert_eq!(replay.observe(&sleep(2, 3000)), has(2));
        if length <= 3 {
            assert_eq!(replay.rest(), Ok(Replayed::End));
            continue;
        }
        assert_eq!(replay.rest(), Ok(tell(1, 2000)));
        assert_eq!(replay.observe(&Event::Dropped { step: 2 }), has(4));
        assert_eq!(replay.finish(&resolved("1")), has(5));
        assert!(replay.is_over());
    }
}

#[test]
fn completions_are_told_in_the_order_of_the_journal() {
    let mut replay =
        Replay::new(journal([Entry::of(&sleep(1, 2000)), Entry::of(&sleep(2, 2000)), told(2, 2000), told(1, 2001)]));
    replay.observe(&sleep(1, 2000)).unwrap();
    replay.observe(&sleep(2, 2000)).unwrap();
    assert_eq!(
        [replay.rest(), replay.rest(), replay.rest()],
        [Ok(tell(2, 2000)), Ok(tell(1, 2001)), Ok(Replayed::End)]
    );
}

#[test]
fn a_run_that_asks_something_else_differs() {
    let message = differs(&[sleep(1, 2001)], &[], None);
    assert_eq!(
        message,
        "entry 1: the journal has [step 1: sleep until 2000], the guest did [step 1: sleep until 2001]"
    );
    let message = differs(&[sleep(1, 2000), call(2, "[]")], &[], None);
    assert_eq!(message, "entry 2: the journal has [step 2: sleep until 3000], the guest did [step 2: call pay[]]");
}

#[test]
fn a_run_that_asks_less_or_more_before_it_rests_differs() {
    let message = differs(&[sleep(1, 2000)], &[], None);
    assert_eq!(message, "entry 2: the journal has [step 2: sleep until 3000], the guest did [nothing more]");
    let message = differs(&[sleep(1, 2000), sleep(2, 3000), sleep(3, 4000)], &[], None);
    assert_eq!(message, "entry 3: the journal has [told of step 1: done], the guest did [step 3: sleep until 4000]");
}

#[test]
fn a_run_that_goes_on_waiting_differs() {
    let asks = [sleep(1, 2000), sleep(2, 3000)];
    let message = differs(&asks, &[], None);
    assert_eq!(message, "entry 4: the journal has [step 2 no longer awaited], the guest did [nothing more]");
    let message = differs(&asks, &[Event::Dropped { step: 2 }], None);
    assert_eq!(message, "entry 5: the journal has [finished: resolved], the guest did [nothing more]");
    let message = differs(&asks, &[Event::Dropped { step: 2 }, sleep(3, 9)], None);
    assert_eq!(message, "entry 5: the journal has [finished: resolved], the guest did [step 3: sleep until 9]");
}

#[test]
fn a_run_that_ends_early_or_in_another_way_differs() {
    let asks = [sleep(1, 2000), sleep(2, 3000)];
    let message = differs(&asks, &[], Some(resolved("1")));
    assert_eq!(message, "entry 4: the journal has [step 2 no longer awaited], the guest did [finished: resolved]");
    let message = differs(&asks, &[Event::Dropped { step: 2 }], Some(Outcome::Crashed("why".into())));
    assert_eq!(message, "entry 5: the journal has [finished: resolved], the guest did [finished: crashed]");
}

#[test]
fn each_kind_of_event_is_compared_in_full() {
    let options = |id: &str, timeout_ms, target: &str| CallOptions {
        id: Some(id.into()),
        timeout_ms: Some(timeout_ms),
        target: Some(target.into()),
    };
    let call = |function: &str, arguments: &str, options, detached| {
        asked(1, Ask::Call { function: function.into(), arguments: text(arguments), options, detached })
    };
    let settle = |id: &str, outcome| asked(1, Ask::SettlePromise { id: id.into(), outcome });
    let record = |step, outcome| Event::Recorded { step, outcome };
    let (long, other) = ("x".repeat(INLINE_BYTES + 1), "x".repeat(INLINE_BYTES) + "y");
    let events = [
        call("pay", "[]", options("a", 1, "t"), false),
        call("buy", "[]", options("a", 1, "t"), false),
        call("pay", "[1]", options("a", 1, "t"), false),
        call("pay", &long, options("a", 1, "t"), false),
        call("pay", &other, options("a", 1, "t"), false),
        call("pay", "[]", options("b", 1, "t"), false),
        call("pay", "[]", options("a", 2, "t"), false),
        call("pay", "[]", options("a", 1, "u"), false),
        call("pay", "[]", CallOptions::default(), false),
        call("pay", "[]", options("a", 1, "t"), true),
        sleep(1, 1),
        sleep(1, 2),
        sleep(2, 1),
        asked(1, Ask::CreatePromise { timeout_ms: None }),
        asked(1, Ask::CreatePromise { timeout_ms: Some(1) }),
        asked(1, Ask::AwaitPromise { id: "a".into() }),
        asked(1, Ask::AwaitPromise { id: "b".into() }),
        settle("a", resolved("1")),
        settle("b", resolved("1")),
        settle("a", resolved("2")),
        settle("a", Outcome::Rejected(text("1"))),
        settle("a", Outcome::Canceled),
        asked(1, Ask::Step { name: "s".into() }),
        asked(1, Ask::Step { name: "t".into() }),
        Event::Dropped { step: 1 },
        Event::Dropped { step: 2 },
        record(1, resolved("1")),
        record(2, resolved("1")),
        record(1, resolved(&long)),
        record(1, resolved(&other)),
        record(1, Outcome::Canceled),
    ];
    for recorded in &events {
        for observed in &events {
            let mut replay = Replay::new(journal([Entry::of(recorded)]));
            match replay.observe(observed) {
                Ok(known) => assert!(known && recorded == observed, "{recorded:?} was taken for {observed:?}"),
                Err(divergence) => {
                    assert_ne!(recorded, observed);
                    assert_eq!(divergence.position, 1);
                    let sides = (*divergence.recorded.unwrap(), *divergence.observed.unwrap());
                    assert_eq!(sides, (Entry::of(recorded), Entry::of(observed)));
                    assert_ne!(sides.0.to_string(), sides.1.to_string(), "the difference can be seen");
                }
            }
        }
    }
}

#[test]
fn a_long_payload_is_kept_and_shown_as_its_digest() {
    let payload = "x".repeat(INLINE_BYTES);
    assert_eq!(Entry::of(&call(1, &payload)).to_string(), format!("step 1: call pay{payload}"));
    let payload = payload + "x";
    let (bytes, digest) = (payload.len(), Digest::of(payload.as_bytes()));
    assert_eq!(Entry::of(&call(1, &payload)).to_string(), format!("step 1: call pay<{bytes} bytes, sha256 {digest}>"));
}

#[test]
fn entries_read_as_sentences() {
    let options = CallOptions { id: Some("b".into()), timeout_ms: Some(5), target: Some("t".into()) };
    let start = Ask::Call { function: "pay".into(), arguments: text("[1]"), options, detached: true };
    let refused = Completion::Refused("no".into());
    let settled = Completion::Settled(Outcome::Crashed("why".into()));
    let entries = [
        (Entry::of(&asked(1, start)), "step 1: start pay[1] as b within 5 ms at t"),
        (Entry::of(&asked(2, Ask::CreatePromise { timeout_ms: None })), "step 2: create a promise"),
        (Entry::of(&asked(2, Ask::CreatePromise { timeout_ms: Some(5) })), "step 2: create a promise for 5 ms"),
        (Entry::of(&asked(3, Ask::AwaitPromise { id: "p".into() })), "step 3: wait for promise p"),
        (
            Entry::of(&asked(4, Ask::SettlePromise { id: "p".into(), outcome: resolved("1") })),
            "step 4: settle promise p: resolved 1",
        ),
        (Entry::of(&asked(5, Ask::Step { name: "a \"b\"".into() })), "step 5: begin \"a \\\"b\\\"\""),
        (Entry::of(&Event::Recorded { step: 5, outcome: Outcome::Canceled }), "step 5 recorded: canceled"),
        (Entry::Told { step: 4, completion: refused, now: 0 }, "told of step 4: refused: no"),
        (Entry::Told { step: 1, completion: settled, now: 0 }, "told of step 1: crashed why"),
    ];
    for (entry, expected) in entries {
        assert_eq!(entry.to_string(), expected);
    }
}
