//! The library as a function's own test uses it: what other systems answer, and what the function is configured with.

use std::time::Duration;

use durable_test::{Configuration, Run, Stub, TestError, build, function};

fn web() -> Vec<u8> {
    build(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/web"), "web")
}

#[test]
fn what_is_outside_is_what_the_test_says() {
    let echo = Stub::new("https://bank.test/").method("POST").answer(200, "thanks").after(Duration::from_secs(5));
    let key = Configuration::default().secret("KEY", "tr0ub4dor-and-3");
    let test = function(&web(), "send_variable", ("KEY", "https://bank.test/charge")).http([echo.clone()]);
    let report = test.configure("send_variable", key.clone()).passes();
    assert_eq!(report.value::<String>().as_deref(), Some("thanks"));
    assert_eq!(report.effects.requests["POST https://bank.test/charge"], 1);
    assert_eq!((report.virtual_time, report.sent_again), (Duration::from_secs(5), 1));

    let nowhere = key.allow("elsewhere.test").expect("it is a host");
    let test = function(&web(), "send_variable", ("KEY", "https://bank.test/charge")).http([echo]);
    assert_eq!(test.configure("send_variable", nowhere).passes().effects.refused, 1);
}

#[test]
fn requests_get_one_answer_after_the_other() {
    let web = web();
    let counter = Stub::new("https://bank.test/").answer(200, "one").answer(200, "two");
    let report = function(&web, "fetch_sleep_fetch", ("https://bank.test/", 86_400_000)).http([counter]).passes();
    assert_eq!(report.value::<Vec<String>>(), Some(vec!["one".into(), "two".into()]));
    assert_eq!(report.crashes, report.boundaries);
}

#[test]
fn a_request_that_must_not_arrive_twice_is_found_at_the_crash_that_makes_it() {
    let once = Stub::new("https://bank.test/").answer(200, "charged").again(409, "charged before");
    let test = function(&web(), "fetch_sleep_fetch", ("https://bank.test/", 0)).http([once]);
    match test.run() {
        Err(TestError::Differs(failure)) => {
            assert!(matches!(failure.run, Run::Crashed { .. }), "{failure}");
            assert!(failure.seen.contains("charged before"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
}
