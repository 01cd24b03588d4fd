//! More than a host can do: what it takes on it does in bounded time, and the rest it turns away at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Setup, until};

const CLIENTS: usize = 8;
const LASTING: Duration = Duration::from_secs(3);

#[test]
fn with_too_many_to_run_a_host_refuses_at_once_and_does_the_rest_in_time() {
    overload(Setup::new().flag("--backlog", 500));
}

/// What a call has called counts: a tree that waits is a call that isn't answered.
#[test]
fn with_some_that_wait_for_long_a_host_refuses_at_once_and_does_the_rest_in_time() {
    overload(Setup::new().flag("--queue-limit", "50ms"));
}

fn overload(setup: Setup) {
    let host = setup.start();
    host.start("before", "steps", json!([200, 10]));
    let (accepted, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let count = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = tests::Client::new(host.url());
                while begun.elapsed() < LASTING {
                    let id = format!("load-{}", count.fetch_add(1, Ordering::Relaxed));
                    let sent = Instant::now();
                    // Nobody waits for the end, so that more and more is under way.
                    let path = format!("/v1/functions/children_at_once/invoke?id={id}&wait_ms=0");
                    let answer = client.post(&path, &json!([50, 0]));
                    let took = sent.elapsed();
                    if answer.status == 503 {
                        assert_eq!(answer.retry_after_s, Some(1));
                        answer.refusal(503, "overloaded");
                        refused.lock().expect("nothing panics while it is held").push(took);
                        client.get(&format!("/v1/promises/{id}")).refusal(404, "no_promise");
                    } else {
                        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
                        accepted.lock().expect("nothing panics while it is held").push(id);
                    }
                }
            });
        }
    });
    let (accepted, mut refused) = (accepted.into_inner().unwrap(), refused.into_inner().unwrap());
    assert!(accepted.len() > 5 && refused.len() > 5, "{} were accepted and {} not", accepted.len(), refused.len());
    refused.sort_unstable();
    let half = refused[refused.len() / 2];
    println!("{} accepted, {} refused, half of them within {half:?}", accepted.len(), refused.len());
    assert!(half < Duration::from_millis(200), "a refusal took {half:?}");
    // What was taken on is done, in the time that the backlog allows for.
    let begun = Instant::now();
    for id in &accepted {
        assert_eq!(host.wait(id)["value"], 50 * 51 / 2, "{id}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "what was taken on took {:?}", begun.elapsed());
    assert_eq!(host.wait("before")["value"], 200 * 201 / 2);
    until("it accepts again", || (host.post("/v1/functions/echo/invoke", &json!([1])).status == 200).then_some(()));
}
