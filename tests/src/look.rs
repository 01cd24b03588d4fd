//! All that can be seen of an execution and what is below it, in a form in which two runs can be compared: the ids are
//! relative to the root, and no times are left.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Client;

/// All that there is to see of a call tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The promises: id, kind, state, value and so on, by their ids.
    pub promises: BTreeMap<String, Value>,
    /// The journal of each execution.
    pub journals: BTreeMap<String, Vec<String>>,
    /// What each execution wrote, in order.
    pub lines: BTreeMap<String, Vec<String>>,
}

impl Look {
    /// Of a settled execution.
    #[track_caller]
    pub fn at(client: &Client, root: &str) -> Look {
        let mut look = Look { promises: BTreeMap::new(), journals: BTreeMap::new(), lines: BTreeMap::new() };
        let tree = client.get(&format!("/v1/executions/{root}/tree?limit=10000")).expect(200);
        assert_eq!(tree["truncated"], false, "the tree of {root} is too large to compare");
        for promise in tree["items"].as_array().expect("items are an array") {
            let id = promise["id"].as_str().expect("ids are text");
            let name = relative(id, root);
            if promise["kind"] == "call" {
                look.journals.insert(name.clone(), journal(client, id, root));
                let lines = client.lines(id).iter().map(|line| without_times(&relative(line, root))).collect();
                look.lines.insert(name.clone(), lines);
            }
            look.promises.insert(name, timeless(promise, root));
        }
        look
    }

    /// The same, with each journal in an order that doesn't depend on what finished first: for what runs at once.
    pub fn unordered(mut self) -> Look {
        self.journals.values_mut().for_each(|journal| journal.sort());
        self
    }

    /// The same without the numbers of the root's steps: for what asks in an order that is drawn for each run.
    pub fn without_steps(mut self) -> Look {
        for entry in self.journals.values_mut().flatten() {
            if let Some((what, rest)) = entry.split_once("step ")
                && let Some(end) = rest.find(|c: char| !c.is_ascii_digit())
            {
                *entry = format!("{what}step _{}", &rest[end..]);
            }
        }
        let promises = std::mem::take(&mut self.promises).into_values().map(|mut promise| {
            for name in ["id", "step"] {
                promise.as_object_mut().expect("a promise is an object").remove(name);
            }
            (promise.to_string(), promise)
        });
        self.promises = promises.collect();
        self.unordered()
    }

    /// What is different in another look.
    pub fn difference(&self, other: &Look) -> Option<String> {
        first(&self.promises, &other.promises, "the promise")
            .or_else(|| first(&self.journals, &other.journals, "the journal of"))
            .or_else(|| first(&self.lines, &other.lines, "the output of"))
    }
}

fn first<T: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<String, T>,
    seen: &BTreeMap<String, T>,
    what: &str,
) -> Option<String> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(seen.keys()).collect();
    let name = names.into_iter().find(|name| expected.get(*name) != seen.get(*name))?;
    Some(format!("{what} {name} is\n{:#?}\ninstead of\n{:#?}", seen.get(name), expected.get(name)))
}

fn journal(client: &Client, id: &str, root: &str) -> Vec<String> {
    let entries = client.items(&format!("/v1/executions/{id}/journal"));
    entries.iter().map(|entry| without_times(&relative(entry["text"].as_str().unwrap_or_default(), root))).collect()
}

/// A document without what differs from run to run.
fn timeless(promise: &Value, root: &str) -> Value {
    let mut promise = promise.clone();
    let fields = promise.as_object_mut().expect("a promise is an object");
    fields.retain(|name, _| !name.ends_with("_ms"));
    serde_json::from_str(&without_times(&relative(&promise.to_string(), root))).expect("only texts were changed")
}

/// That comes before times are looked for: an id that was made up can have digits that look like one.
fn relative(text: &str, root: &str) -> String {
    text.replace(root, "root")
}

/// A text with every number that is a time in milliseconds since 1970 replaced by `<time>`.
pub fn without_times(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        kept.push_str(&rest[..start]);
        kept.push_str(if end == 13 { "<time>" } else { &digits[..end] });
        rest = &digits[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_and_other_numbers_stay() {
        let text = "step 3: sleep until 1763905712345, 12 and 17639057123456";
        assert_eq!(without_times(text), "step 3: sleep until <time>, 12 and 17639057123456");
    }
}
