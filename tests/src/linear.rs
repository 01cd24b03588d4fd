//! Whether a concurrent history is one that could have happened in some order: linearizability, as Wing and Gong search
//! for it, with Lowe's memory of what was searched already.

use std::collections::HashSet;
use std::hash::Hash;

/// One operation as a client saw it.
#[derive(Clone, Debug)]
pub struct Call<O> {
    /// When it was asked for, on a clock that all clients share.
    pub begun: u64,
    /// When the answer was there.
    pub ended: u64,
    /// What was asked, and answered.
    pub operation: O,
}

/// All states in which these calls, made in these states, can have left what they were made to. None: no order explains
/// the answers.
///
/// `step` is the state after an operation, if the operation can have been answered like that in this state.
pub fn outcomes<S, O>(states: &HashSet<S>, calls: &[Call<O>], step: impl Fn(&S, &O) -> Option<S>) -> HashSet<S>
where
    S: Clone + Eq + Hash,
{
    assert!(calls.len() <= 128, "the calls are counted in the bits of a number");
    let all = if calls.len() == 128 { u128::MAX } else { (1 << calls.len()) - 1 };
    let mut outcomes = HashSet::new();
    let mut seen: HashSet<(u128, S)> = states.iter().map(|state| (0, state.clone())).collect();
    let mut open: Vec<(u128, S)> = seen.iter().cloned().collect();
    while let Some((done, state)) = open.pop() {
        if done == all {
            outcomes.insert(state);
            continue;
        }
        // What began after another had ended comes after it.
        let rest = || calls.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        let first_end = rest().map(|(_, call)| call.ended).min().expect("there are some left");
        for (n, call) in rest().filter(|(_, call)| call.begun <= first_end) {
            let Some(next) = step(&state, &call.operation) else { continue };
            let next = (done | 1 << n, next);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Register {
        Write(u32),
        Read(u32),
    }

    fn step(state: &u32, operation: &Register) -> Option<u32> {
        match operation {
            Register::Write(value) => Some(*value),
            Register::Read(value) => (value == state).then_some(*state),
        }
    }

    fn end(calls: &[(u64, u64, Register)]) -> Vec<u32> {
        let call = |(begun, ended, operation): &(u64, u64, Register)| Call {
            begun: *begun,
            ended: *ended,
            operation: *operation,
        };
        let calls: Vec<_> = calls.iter().map(call).collect();
        let mut states: Vec<u32> = outcomes(&HashSet::from([0]), &calls, step).into_iter().collect();
        states.sort_unstable();
        states
    }

    const NONE: [u32; 0] = [];

    #[test]
    fn what_overlaps_may_have_happened_in_any_order() {
        use Register::{Read, Write};
        assert_eq!(end(&[]), [0]);
        assert_eq!(end(&[(0, 5, Write(1)), (1, 4, Write(2))]), [1, 2]);
        assert_eq!(end(&[(0, 5, Write(1)), (1, 4, Read(0)), (2, 3, Write(2))]), [1, 2]);
        assert_eq!(end(&[(0, 5, Write(1)), (1, 4, Write(2)), (6, 7, Read(1))]), [1]);
    }

    #[test]
    fn what_did_not_overlap_keeps_its_order() {
        use Register::{Read, Write};
        assert_eq!(end(&[(0, 1, Write(1)), (2, 3, Read(0))]), NONE);
        assert_eq!(end(&[(0, 9, Write(1)), (1, 2, Read(1)), (3, 4, Read(0))]), NONE);
        assert_eq!(end(&[(0, 1, Write(1)), (2, 3, Write(2)), (4, 5, Read(1))]), NONE);
    }
}
