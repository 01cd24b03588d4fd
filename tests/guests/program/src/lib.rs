//! Runs programs that a test makes up: joins, races, drops, calls, timers, requests, chance and time, nested in any way.
//! Everything that a program sees goes into its trace, line by line, which it prints as it goes and returns at its end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use guest_sdk::http;
use guest_sdk::prelude::*;

/// What a program does, one after the other.
type Program = Vec<Op>;

#[data]
#[serde(rename_all = "snake_case")]
enum Op {
    /// Sleep, durably.
    Sleep(u64),
    /// Sleep as an ordinary program would.
    Block(u64),
    /// Look at both clocks.
    Time,
    /// Draw a number, and the order of a map.
    Chance,
    /// Call a function that sleeps and returns its argument.
    Call(u64, u64),
    /// Run a program in an execution of its own.
    Child(Program),
    /// Send a request.
    Request(String),
    /// Make a promise, settle it, and wait for it.
    Promise(u64),
    /// Run a program as a named step.
    Step(Program),
    /// Run programs at once, all to their ends.
    Join(Vec<Program>),
    /// Run programs at once until one ends. The others are dropped.
    Race(Vec<Program>),
    /// Run programs at once, and look at them in the order in which they end. So many of them; the others are dropped.
    Some(usize, Vec<Program>),
    /// Run a program, but not for longer than this.
    Timeout(u64, Program),
    /// Begin a program, and drop it where it first waits.
    Drop(Program),
    /// Write down what no other sees.
    Mark(u64),
}

#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    fn add(&self, line: String) {
        println!("{line}");
        self.0.borrow_mut().push(line);
    }
}

/// Run a program. Returns its trace.
#[function]
async fn program(of: Program) -> Vec<String> {
    let trace = Trace::default();
    run_program(of, trace.clone()).await;
    trace.0.take()
}

/// Sleeps, and returns its argument; every third time as an error.
#[function]
async fn leaf(ms: u64, value: u64) -> Result<u64, String> {
    sleep(Duration::from_millis(ms)).await;
    match value % 3 {
        0 => Err(format!("no {value}")),
        _ => Ok(value),
    }
}

fn run_program(of: Program, trace: Trace) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        for op in of {
            run_op(op, &trace).await;
        }
    })
}

async fn run_op(op: Op, trace: &Trace) {
    let start = |programs: Vec<Program>| {
        let run = |(n, program)| {
            let trace = trace.clone();
            async move {
                run_program(program, trace).await;
                n
            }
        };
        programs.into_iter().enumerate().map(run).map(Box::pin).collect::<Vec<_>>()
    };
    match op {
        Op::Sleep(ms) => {
            sleep(Duration::from_millis(ms)).await;
            trace.add(format!("slept {ms}"));
        }
        Op::Block(ms) => {
            std::thread::sleep(Duration::from_millis(ms));
            trace.add(format!("blocked {ms}"));
        }
        Op::Time => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            trace.add(format!("time {since} {:?}", std::time::Instant::now()));
        }
        Op::Chance => {
            let map: HashMap<u64, ()> = (0..6).map(|n| (n, ())).collect();
            trace.add(format!("chance {:?}", map.keys().collect::<Vec<_>>()));
        }
        Op::Call(ms, value) => trace.add(format!("call {:?}", leaf(ms, value).await)),
        Op::Child(of) => trace.add(format!("child {:?}", program(of).await)),
        Op::Request(url) => {
            let answer = http::get(url).await;
            trace.add(format!("request {:?}", answer.map(|answer| (answer.status(), answer.text().into_owned()))));
        }
        Op::Promise(value) => {
            let promise = promise::<u64>();
            let settled = resolve(promise.id(), value).await;
            trace.add(format!("promise {settled:?} {:?}", promise.await));
        }
        Op::Step(program) => {
            let done = guest_sdk::run("step", async || {
                run_program(program.clone(), trace.clone()).await;
                Ok(())
            });
            trace.add(format!("step {:?}", done.await));
        }
        Op::Join(programs) => {
            join_all(start(programs)).await;
            trace.add("joined".into());
        }
        Op::Race(programs) => {
            if programs.is_empty() {
                return;
            }
            let (winner, _, others) = guest_sdk::futures::future::select_all(start(programs)).await;
            drop(others);
            trace.add(format!("won {winner}"));
        }
        Op::Some(count, programs) => {
            let mut running: FuturesUnordered<_> = start(programs).into_iter().collect();
            for _ in 0..count {
                match running.next().await {
                    Some(n) => trace.add(format!("ended {n}")),
                    None => break,
                }
            }
        }
        Op::Timeout(ms, program) => {
            let ended = timeout(Duration::from_millis(ms), run_program(program, trace.clone())).await;
            trace.add(format!("in time {}", ended.is_ok()));
        }
        Op::Drop(program) => {
            let _ = run_program(program, trace.clone()).now_or_never();
            trace.add("dropped".into());
        }
        Op::Mark(n) => trace.add(format!("mark {n}")),
    }
}
