//! `host tree`: an execution and everything below it.

use std::collections::{HashMap, HashSet};

use clap::Args;

use super::client::{Answer, segment};
use super::documents::{Items, Promise};
use super::failure::Failure;
use super::screen::{Paint, safe, short};
use super::{Context, Ending, times};

/// Show the call tree of an execution, with states and durations
#[derive(Args)]
#[command(after_help = "Example:\n  host tree transfer-7")]
pub(super) struct Tree {
    /// The execution at the top
    id: String,
    /// At most so many promises
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl Tree {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let Context { client, screen } = context;
        let path = format!("/v1/executions/{}/tree", segment(&self.id));
        let query = [("limit", self.limit.to_string())];
        let Answer { text, document } = client.get::<Items<Promise>>(&path, &query)?;
        screen.show(&text, || draw(screen.out, &self.id, &document.items, times::now_ms()))?;
        if document.truncated && !screen.json {
            screen.note(&format!("there are more than these {}; see --limit", document.items.len()));
        }
        Ok(Ending::Well)
    }
}

/// Draw the tree. What hangs below something that isn't there (the tree was cut) is drawn at the top.
fn draw(paint: Paint, top: &str, promises: &[Promise], now_ms: u64) -> String {
    let there: HashSet<&str> = promises.iter().map(|promise| promise.id.as_str()).collect();
    let mut below: HashMap<&str, Vec<&Promise>> = HashMap::new();
    let mut tops = Vec::new();
    for promise in promises {
        match promise.parent.as_deref() {
            Some(parent) if promise.id != top && there.contains(parent) => {
                below.entry(parent).or_default().push(promise);
            }
            _ => tops.push(promise),
        }
    }
    for children in below.values_mut() {
        children.sort_by_key(|promise| promise.step);
    }
    let mut text = String::new();
    // What is still to be drawn, the next at the end: trees can be deeper than a stack is.
    let mut rest: Vec<(&Promise, String, String)> =
        tops.iter().rev().map(|promise| (*promise, String::new(), String::new())).collect();
    while let Some((promise, branch, indent)) = rest.pop() {
        text += &format!("{}{}\n", paint.dim(&branch), line(paint, promise, now_ms));
        let children = below.remove(promise.id.as_str()).unwrap_or_default();
        for (n, child) in children.iter().enumerate().rev() {
            let is_last = n + 1 == children.len();
            let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            rest.push((child, format!("{indent}{branch}"), format!("{indent}{below}")));
        }
    }
    text
}

fn line(paint: Paint, promise: &Promise, now_ms: u64) -> String {
    // Below its parent, a promise needs only the last part of its id: the number of the step.
    let extends =
        |parent: &String| promise.id.strip_prefix(parent.as_str()).and_then(|rest| rest.strip_prefix([':', '.']));
    let id = promise.parent.as_ref().and_then(extends).unwrap_or(&promise.id);
    let state = if promise.held.is_some() { "held" } else { &promise.state };
    let mut outcome = paint.state(state, state);
    // What a crash says has many lines, and is shown by `get`.
    if let Some(value) = promise.value.as_ref().filter(|_| state != "crashed") {
        outcome += &format!(" {}", short(value.get(), 50));
    }
    let took = times::duration(promise.took_ms(now_ms));
    let took = if promise.is_pending() { format!("for {took}") } else { took };
    let detached = if promise.detached { " (detached)" } else { "" };
    format!("{} {}{detached}  {outcome}  {}", paint.dim(&safe(id)), short(&promise.what(), 60), paint.dim(&took))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(json: &str) -> Promise {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn children_hang_below_their_parents_in_the_order_of_their_steps() {
        let promises = [
            promise(r#"{"id":"a","state":"pending","function":"f","arguments":[1],"created_at_ms":1000}"#),
            promise(r#"{"id":"a:10","state":"pending","kind":"sleep","parent":"a","step":10,"created_at_ms":1500}"#),
            promise(
                r#"{"id":"a:2","state":"resolved","value":7,"function":"g","arguments":[],"parent":"a","step":2,
                "created_at_ms":1000,"settled_at_ms":1250}"#,
            ),
            promise(
                r#"{"id":"a:2.1","state":"crashed","value":"bang\nhere","kind":"step","name":"s","parent":"a:2","step":1,
                "created_at_ms":1000,"settled_at_ms":1001}"#,
            ),
        ];
        let drawn = draw(Paint::PLAIN, "a", &promises, 3500);
        let expected = "a f(1)  pending  for 2.5s\n\
            ├─ 2 g()  resolved 7  250ms\n\
            │  └─ 1 s  crashed  1ms\n\
            └─ 10 sleep  pending  for 2.0s\n";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn what_lost_its_parent_is_drawn_all_the_same() {
        let orphan = promise(r#"{"id":"a:2.1","state":"pending","kind":"sleep","parent":"a:2","step":1}"#);
        assert!(draw(Paint::PLAIN, "a", &[orphan], 0).starts_with("1 sleep"));
    }
}
