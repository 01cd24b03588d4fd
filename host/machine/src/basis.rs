//! What an execution is run again from, as its journal has it: on which component, from which seed and time, and under
//! which names its steps are known to it.

use crate::{Digest, Entry, Id};

/// What a run that is to repeat a journal begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The component that the journal ends on.
    pub component: Digest,
    /// What random numbers are drawn from.
    pub seed: u64,
    /// The time that the guest sees at first.
    pub now: u64,
    /// Which names its steps have.
    pub names: Names,
    /// What a run on the component writes up to the last entry that moved or forked it, and what had been written.
    replayed: u32,
    written: u32,
}

/// The names of an execution's steps. They are made of its own id, but for those in a history that it took over from
/// another execution: the guest has seen their names, and goes on seeing the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The last step that is named after an execution, and which one. Ascending.
    inherited: Vec<(u32, Id)>,
}

impl Basis {
    /// Of a journal, whole or its first entries. None: it doesn't begin as one does.
    pub fn of(entries: &[Entry]) -> Option<Basis> {
        let Some(Entry::Started { component, seed, now }) = entries.first() else { return None };
        let names = Names::default();
        let mut basis = Basis { component: *component, seed: *seed, now: *now, names, replayed: 0, written: 0 };
        for entry in entries {
            match entry {
                Entry::Moved { component, replayed, written, .. } => {
                    (basis.component, basis.replayed, basis.written) = (*component, *replayed, *written);
                }
                Entry::Forked { from, steps, replayed, .. } => {
                    basis.names.inherited.push((*steps, from.clone()));
                    (basis.replayed, basis.written) = (*replayed, 0);
                }
                _ => {}
            }
        }
        Some(basis)
    }

    /// How many pieces of output a run leaves out, because they were written before, of an execution that has written
    /// so many.
    pub fn leaves_out(&self, outputs: u32) -> u32 {
        self.replayed.saturating_add(outputs.saturating_sub(self.written))
    }
}

impl Names {
    /// The execution that a step is named after: this one, whose id is `own`, or another.
    pub fn of_step<'a>(&'a self, own: &'a Id, step: u32) -> &'a Id {
        self.inherited.iter().find(|(last, _)| step <= *last).map_or(own, |(_, id)| id)
    }

    /// The last step that is part of a history that was taken over.
    pub fn inherited_steps(&self) -> u32 {
        self.inherited.last().map_or(0, |(last, _)| *last)
    }

    /// Which step that was taken over a name stands for.
    pub fn inherited_step(&self, name: &str) -> Option<u32> {
        let mut first = 1;
        for (last, id) in &self.inherited {
            let number = name.strip_prefix(id.as_str()).and_then(|rest| rest.strip_prefix([':', '.']));
            if let Some(step) = number.and_then(|number| number.parse().ok())
                && (first..=*last).contains(&step)
                && id.child(step).is_ok_and(|id| id.as_str() == name)
            {
                return Some(step);
            }
            first = last.saturating_add(1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse(text).unwrap()
    }

    #[test]
    fn the_last_move_counts() {
        let started = Entry::Started { component: Digest([1; 32]), seed: 7, now: 9 };
        let forked = Entry::Forked { from: id("a"), steps: 2, replayed: 5, now: 10 };
        let moved = Entry::Moved { component: Digest([2; 32]), replayed: 4, written: 3, now: 11 };
        assert_eq!(Basis::of(&[]), None);
        assert_eq!(Basis::of(std::slice::from_ref(&started)).unwrap().leaves_out(3), 3);
        let basis = Basis::of(&[started.clone(), forked.clone()]).unwrap();
        assert_eq!((basis.component, basis.leaves_out(0), basis.leaves_out(2)), (Digest([1; 32]), 5, 7));
        let basis = Basis::of(&[started, forked, moved]).unwrap();
        assert_eq!((basis.component, basis.leaves_out(3), basis.leaves_out(4)), (Digest([2; 32]), 4, 5));
    }

    #[test]
    fn steps_keep_the_names_that_they_were_first_known_by() {
        let names = Names { inherited: vec![(2, id("a:3")), (5, id("b"))] };
        let own = id("c");
        assert_eq!([1, 2, 3, 5, 6].map(|step| names.of_step(&own, step).as_str()), ["a:3", "a:3", "b", "b", "c"]);
        let step = |name: &str| names.inherited_step(name);
        assert_eq!((step("a:3.2"), step("b:3"), names.inherited_steps()), (Some(2), Some(3), 5));
        for other in ["a:3.3", "b:2", "b:6", "c:1", "b:03", "b.3", "b:x", "b"] {
            assert_eq!(step(other), None, "{other}");
        }
    }
}
