//! Large numbers. What is linear here takes a fraction of a second; what isn't, minutes.

use std::time::{Duration, Instant};

use super::*;

const MANY: u32 = 100_000;

/// Records put without the checks of [`World`], which look at the whole state each time.
struct Bare(Memory);

impl Bare {
    fn new() -> Bare {
        let mut world = World::new();
        world.put(Op::Configure { scope: Scope::Host, config: limit(Limit::Children, u64::MAX) }).unwrap();
        Bare(world.state)
    }

    fn put(&mut self, now: u64, op: Op) -> Vec<Effect> {
        let applied = apply(&mut self.0, Record { now, op });
        applied.reply.unwrap();
        applied.effects
    }

    fn start(&mut self, root: &str, timeout_at: u64) {
        let (function, arguments) = ("buy".into(), text("[]"));
        self.put(1000, Op::Invoke { id: id(root), function, arguments, timeout_at, seed: 0 });
        self.put(1000, Op::Acquire { id: id(root) });
    }

    fn turn(&mut self, of: &str, told: Option<u32>, events: Vec<Event>) {
        let (id, told, rest) = (id(of), told.map(|step| (step, 1000)), Rest::Waiting);
        self.put(1000, Op::Progress(Progress { id, version: 1, told, events, output: Vec::new(), rest }));
    }
}

fn is_quick(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
}

#[test]
fn executions_that_wait_for_each_other_can_end_together() {
    // On a stack that holds a few hundred calls within each other.
    let chain = || {
        let mut bare = Bare::new();
        bare.put(1000, Op::CreatePromise { id: id("p"), param: text(""), timeout_at: 2000 });
        let mut before = "p".to_owned();
        for n in 0..MANY {
            let root = format!("e{n}");
            bare.start(&root, 2000);
            bare.turn(&root, None, vec![Event::Asked { step: 1, ask: wait_for(&before) }]);
            before = root;
        }
        let effects = bare.put(2000, Op::Expire { ids: vec![id("p")] });
        assert_eq!(effects.len(), 1 + 2 * MANY as usize);
        assert!(bare.0.deadlines.is_empty());
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(chain).unwrap().join().unwrap();
}

#[test]
fn a_promise_with_many_awaiters_can_lose_them_and_wake_the_rest() {
    is_quick(|| {
        let mut bare = Bare::new();
        bare.put(1000, Op::CreatePromise { id: id("p"), param: text(""), timeout_at: FAR });
        for n in 0..MANY {
            bare.start(&format!("e{n}"), FAR);
            bare.turn(&format!("e{n}"), None, vec![Event::Asked { step: 1, ask: wait_for("p") }]);
        }
        for n in (0..MANY).filter(|n| n % 3 > 0) {
            match n % 3 {
                1 => bare.turn(&format!("e{n}"), None, vec![Event::Dropped { step: 1 }]),
                _ => drop(bare.put(1000, Op::Settle { id: id(&format!("e{n}")), outcome: Outcome::Canceled })),
            }
        }
        let woken = bare.put(1000, Op::Settle { id: id("p"), outcome: resolved("1") });
        assert_eq!(woken.len(), 1 + MANY.div_ceil(3) as usize);
    });
}

#[test]
fn an_execution_with_many_children_can_drop_and_end_them() {
    is_quick(|| {
        let mut bare = Bare::new();
        bare.start("a", FAR);
        bare.turn("a", None, (1..=MANY).map(|step| Event::Asked { step, ask: call("pay") }).collect());
        for step in (1..=MANY).filter(|step| step % 2 > 0) {
            bare.put(1000, Op::Settle { id: id("a").child(step).unwrap(), outcome: resolved("1") });
        }
        // The loser of a select are thousands of answers, and calls without one, in one turn.
        let dropped = (1..=MANY).rev().filter(|step| step % 3 > 0 && *step != 1);
        bare.turn("a", Some(1), dropped.map(|step| Event::Dropped { step }).collect());
        let ready = bare.0.promises[&id("a")].execution.as_ref().unwrap().ready.len() as u32;
        assert_eq!(ready, (1..=MANY).filter(|step| step % 6 == 3).count() as u32);
        bare.put(1000, Op::Settle { id: id("a"), outcome: Outcome::Canceled });
        assert!(bare.0.deadlines.is_empty());
    });
}

#[test]
fn many_children_can_be_told_one_by_one() {
    is_quick(|| {
        let mut bare = Bare::new();
        bare.start("a", FAR);
        bare.turn("a", None, (1..=MANY).map(|step| Event::Asked { step, ask: sleep(1000) }).collect());
        (1..=MANY).for_each(|step| bare.turn("a", Some(step), Vec::new()));
        assert_eq!(bare.0.promises[&id("a")].execution.as_ref().unwrap().entries, 1 + 2 * MANY);
    });
}
