//! Clients that never give up, and remember everything that they were told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Answer, Client, Random, until};

use crate::workloads::{Outsider, WORKLOADS, Workload};

/// Something that a host told a client, and must never take back.
#[derive(Clone, Debug)]
enum Told {
    /// The promise is there: a call was taken on, or a promise made.
    Exists(String),
    /// The promise has this outcome.
    Settled(Value),
    /// These are the first items of this list.
    Began(String, Vec<Value>),
}

/// A client with a memory. Several threads use one.
pub(crate) struct Driver {
    client: Client,
    told: Mutex<Vec<Told>>,
    ended: Mutex<Vec<(Workload, String)>>,
    /// No new work is begun.
    is_over: AtomicBool,
}

impl Driver {
    pub(crate) fn new(client: &Client) -> Driver {
        let client = Client::new(client.url());
        Driver { client, told: Mutex::default(), ended: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    /// Begin no new work.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether no new work is begun.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What ended, with its id.
    pub(crate) fn ended(&self) -> Vec<(Workload, String)> {
        self.ended.lock().expect("nothing panics while it is held").clone()
    }

    /// One piece of work after the other, until it is enough.
    pub(crate) fn keep_busy(&self, prefix: &str, mut random: Random) {
        for n in 0.. {
            if self.is_over() {
                return;
            }
            let workload = &WORKLOADS[random.below(WORKLOADS.len() as u64) as usize];
            self.drive(workload, &format!("{}-{prefix}-{n}", workload.name));
        }
    }

    /// Call, do what is to be done outside, look at it now and then, and wait for the end.
    pub(crate) fn drive(&self, workload: &Workload, id: &str) {
        let promise = format!("{id}-promise");
        if workload.outsider == Outsider::MakeAndSettle {
            // The first attempt may have made it without the answer getting through.
            let answer = self.ask(&format!("making {promise}"), |client| {
                client.try_post("/v1/promises", json!({ "id": promise }).to_string().as_bytes()).ok()
            });
            assert!(matches!(answer.status, 200 | 201), "{promise}: {answer:?}");
            self.remember(Told::Exists(promise.clone()));
        }
        let path = format!("/v1/functions/{}/invoke?id={id}&wait_ms=0", workload.function);
        let body = (workload.arguments)(id).to_string();
        let answer = self.ask(&format!("calling {id}"), |client| client.try_post(&path, body.as_bytes()).ok());
        assert!(matches!(answer.status, 200 | 202), "{id}: {answer:?}");
        self.remember(Told::Exists(id.to_owned()));
        self.look_at(id);
        match workload.outsider {
            Outsider::Nothing => {}
            Outsider::SettleStep(step) => self.settle(&format!("{id}:{step}"), &json!(true)),
            Outsider::MakeAndSettle => self.settle(&promise, &json!({ "for": "the waiter" })),
        }
        self.look_at(id);
        let path = format!("/v1/executions/{id}?wait_ms=2000");
        let document = self.ask(&format!("the end of {id}"), |client| {
            let answer = client.try_get(&path).ok()?;
            // 404 would be a lie: it was taken on.
            assert!(matches!(answer.status, 200 | 503), "{id}: {answer:?}");
            let settled = answer.status == 200 && answer.json()["state"] != "pending";
            settled.then_some(answer)
        });
        self.remember(Told::Settled(document.json()));
        self.ended.lock().expect("nothing panics while it is held").push((*workload, id.to_owned()));
    }

    /// Settle a promise that will be there, if it isn't yet.
    fn settle(&self, id: &str, value: &Value) {
        let path = format!("/v1/promises/{id}/resolve");
        let answer = self.ask(&format!("settling {id}"), |client| {
            let answer = client.try_post(&path, value.to_string().as_bytes()).ok()?;
            (answer.status != 404).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        self.remember(Told::Settled(answer.json()));
    }

    /// What an execution has done so far.
    fn look_at(&self, id: &str) {
        for part in ["journal", "logs"] {
            let path = format!("/v1/executions/{id}/{part}");
            let answer = self.ask(&format!("looking at {path}"), |client| client.try_get(&path).ok());
            if let Value::Array(items) = answer.expect(200)["items"].take() {
                self.remember(Told::Began(path, items));
            }
        }
    }

    /// Ask until there is an answer that isn't about the host itself.
    fn ask(&self, what: &str, mut ask: impl FnMut(&Client) -> Option<Answer>) -> Answer {
        until(what, || ask(&self.client).filter(|answer| answer.status != 503))
    }

    fn remember(&self, told: Told) {
        self.told.lock().expect("nothing panics while it is held").push(told);
    }

    /// Hold the `latest` things that were told against what a host says that was started again. How many there were.
    pub(crate) fn check(&self, latest: usize) -> usize {
        let told = self.told.lock().expect("nothing panics while it is held");
        let told = told[told.len().saturating_sub(latest)..].to_vec();
        for told in &told {
            match told {
                Told::Exists(id) => {
                    self.again(&format!("/v1/promises/{id}"));
                }
                Told::Settled(document) => {
                    let id = document["id"].as_str().expect("ids are text");
                    let again = self.again(&format!("/v1/promises/{id}"));
                    for field in ["state", "value", "settled_at_ms", "created_at_ms", "timeout_at_ms"] {
                        assert_eq!(again[field], document[field], "{field} of {id} was told, and is another now");
                    }
                }
                Told::Began(path, items) => {
                    let again = self.again(path);
                    let again = again["items"].as_array().expect("items are an array");
                    let first = again.get(..items.len());
                    assert_eq!(first, Some(&items[..]), "{path} was told, and is another now");
                }
            }
        }
        told.len()
    }

    fn again(&self, path: &str) -> Value {
        let answer = until(path, || self.client.try_get(path).ok().filter(|answer| answer.status != 503));
        assert_eq!(answer.status, 200, "{path} was told to be there: {answer:?}");
        answer.json()
    }
}

/// Stops the work of a driver when a test ends, even if it fails: its threads would go on otherwise.
pub(crate) struct Finishing<'a>(pub(crate) &'a Driver);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// A moment for the clients to get something done.
pub(crate) fn pause(random: &mut Random, most_ms: u64) {
    std::thread::sleep(random.up_to(Duration::from_millis(most_ms)));
}
