//! Whether what clients were told of a promise can have happened in some order, each within the time from when it was asked
//! to when the answer came: linearizability. A promise is made once and settled once, so that is a matter of two moments.

/// In milliseconds, and a number that tells what comes after what within one.
pub type Moment = (u64, u64);

const NEVER: Moment = (u64::MAX, u64::MAX);

/// A request about a promise. One without an answer can take effect at any time after it was made, or not at all.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub what: What,
    pub begun: Moment,
    pub ended: Option<(Moment, Saw)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Make it, with this param.
    Create(String),
    /// Settle it so.
    Settle(String),
    Look,
}

/// What the answer says of the promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    /// It isn't there.
    Nothing,
    Pending {
        param: String,
    },
    Settled {
        param: String,
        end: String,
    },
}

/// Deadline, and by how much clocks may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: u64,
    pub skew: u64,
}

/// How a deadline ends a promise.
pub const TIMED_OUT: &str = "rejected_timedout";

/// Why no order explains the answers. None: one does.
pub fn contradiction(attempts: &[Attempt], deadline: Deadline) -> Option<String> {
    // When it was made, and when it was settled: after the first, and before or at the second.
    let (mut made, mut settled) = (((0, 0), NEVER), ((0, 0), NEVER));
    let (mut known_param, mut known_end) = (None, None);
    for Attempt { what, begun, ended } in attempts {
        let Some((ended, saw)) = ended else { continue };
        let is_odd = matches!((what, saw), (What::Create(_), Saw::Nothing) | (What::Settle(_), Saw::Pending { .. }));
        if is_odd {
            return Some(format!("{what:?} at {begun:?} was answered with {saw:?}"));
        }
        let param = match saw {
            Saw::Nothing => {
                made.0 = made.0.max(*begun);
                continue;
            }
            Saw::Pending { param } => {
                settled.0 = settled.0.max(*begun);
                param
            }
            Saw::Settled { param, end } => {
                settled.1 = settled.1.min(*ended);
                let known = known_end.get_or_insert(end);
                if *known != end {
                    return Some(format!("it was settled as {known} and as {end}"));
                }
                param
            }
        };
        made.1 = made.1.min(*ended);
        let known = known_param.get_or_insert(param);
        if *known != param {
            return Some(format!("it was made with {known} and with {param}"));
        }
    }
    let param = known_param?;
    let end_of = |attempt: &Attempt| attempt.ended.as_ref().map_or(NEVER, |(ended, _)| *ended);
    // The earliest moment at which somebody can have made it, and the latest at which somebody can have settled it.
    // What it said shows that it wasn't the one, if it found the promise settled; or if it found none, to settle.
    let found_settled = |attempt: &Attempt| {
        let saw = attempt.ended.as_ref().map(|(_, saw)| saw);
        matches!(saw, Some(Saw::Settled { end, .. }) if end != TIMED_OUT)
    };
    let found_nothing = |attempt: &Attempt| matches!(attempt.ended, Some((_, Saw::Nothing)));
    let made_with = What::Create(param.clone());
    let makers = attempts.iter().filter(|attempt| attempt.what == made_with && !found_settled(attempt));
    let made_at = makers
        .map(|maker| (made.0.max(maker.begun), made.1.min(end_of(maker))))
        .filter_map(|(low, high)| (low <= high).then_some(low))
        .min();
    let Some(made_at) = made_at else {
        return Some(format!("nobody can have made it with {param} after {:?} and until {:?}", made.0, made.1));
    };
    let over = (deadline.at + deadline.skew, u64::MAX);
    let Some(end) = known_end else {
        let is_late = settled.0 > over;
        return is_late.then(|| format!("it was pending for who asked at {:?}, after its deadline", settled.0));
    };
    // What is made after its deadline is settled then.
    settled.1 = settled.1.min(over.max(made_at));
    let settled_with = What::Settle(end.clone());
    let windows = attempts
        .iter()
        .filter(|attempt| attempt.what == settled_with && !found_nothing(attempt))
        .map(|settler| (settled.0.max(settler.begun), settled.1.min(end_of(settler))));
    let by_itself = (settled.0.max((deadline.at.saturating_sub(deadline.skew), 0)), settled.1);
    let settled_at = windows
        .chain((end == TIMED_OUT).then_some(by_itself))
        .filter_map(|(low, high)| (low.max(made_at) <= high).then_some(high))
        .max();
    settled_at.is_none().then(|| {
        format!("nobody can have settled it as {end} after {:?} and {made_at:?} and until {:?}", settled.0, settled.1)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ::tests::{Call, outcomes};

    use super::super::dice::Dice;
    use super::*;

    /// What a promise is, in an order of things that happen one after the other.
    type State = Option<(String, Option<String>)>;

    fn step(state: &State, (what, saw): &(What, Option<Saw>)) -> Option<State> {
        let next = match (state, what) {
            (None, What::Create(param)) => Some((param.clone(), None)),
            (Some((param, None)), What::Settle(end)) => Some((param.clone(), Some(end.clone()))),
            (state, _) => state.clone(),
        };
        let seen = match &next {
            None => Saw::Nothing,
            Some((param, None)) => Saw::Pending { param: param.clone() },
            Some((param, Some(end))) => Saw::Settled { param: param.clone(), end: end.clone() },
        };
        saw.as_ref().is_none_or(|saw| *saw == seen).then_some(next)
    }

    /// A history of a few requests that overlap, answered in some order, now and then with something made up.
    fn history(dice: &mut Dice) -> Vec<Attempt> {
        let mut state: State = None;
        let mut attempts = Vec::new();
        // The order is that of their moments, from which what is asked before and answered after is spread.
        for index in 0..1 + dice.below(7) as u64 {
            let what = match dice.below(5) {
                0 | 1 => What::Create(format!("p{}", dice.below(2))),
                2 | 3 => What::Settle(format!("e{}", dice.below(2))),
                _ => What::Look,
            };
            let at = 100 * (index + 1);
            let (begun, ended) = (at - dice.between(0, 250).min(at), at + dice.between(1, 250));
            let begun = (begun, 2 * index);
            if dice.one_in(5) {
                // Without an answer, and perhaps without effect.
                if dice.one_in(2) {
                    state = step(&state, &(what.clone(), None)).expect("anything is answered");
                }
                attempts.push(Attempt { what, begun, ended: None });
                continue;
            }
            state = step(&state, &(what.clone(), None)).expect("anything is answered");
            let saw = match (&state, dice.below(8)) {
                (_, 0) => Saw::Nothing,
                (_, 1) => Saw::Pending { param: format!("p{}", dice.below(2)) },
                (_, 2) => Saw::Settled { param: format!("p{}", dice.below(2)), end: format!("e{}", dice.below(2)) },
                (None, _) => Saw::Nothing,
                (Some((param, None)), _) => Saw::Pending { param: param.clone() },
                (Some((param, Some(end))), _) => Saw::Settled { param: param.clone(), end: end.clone() },
            };
            attempts.push(Attempt { what, begun, ended: Some(((ended, 2 * index + 1), saw)) });
        }
        attempts
    }

    /// It says the same as a search of all orders.
    #[test]
    fn two_moments_say_the_same_as_all_orders() {
        let (mut possible, mut impossible) = (0, 0);
        for seed in 0..30_000 {
            let attempts = history(&mut Dice::new(seed));
            let number = |(at, order): Moment| at * 1_000 + order;
            let call = |attempt: &Attempt| Call {
                begun: number(attempt.begun),
                ended: attempt.ended.as_ref().map_or(u64::MAX, |(ended, _)| number(*ended)),
                operation: (attempt.what.clone(), attempt.ended.as_ref().map(|(_, saw)| saw.clone())),
            };
            let calls: Vec<_> = attempts.iter().map(call).collect();
            let is_possible = !outcomes(&HashSet::from([None]), &calls, step).is_empty();
            let never = Deadline { at: u64::MAX / 2, skew: 0 };
            let said = contradiction(&attempts, never);
            assert_eq!(said.is_none(), is_possible, "seed {seed}: {said:?}: {attempts:#?}");
            *if is_possible { &mut possible } else { &mut impossible } += 1;
        }
        assert!(possible > 3_000 && impossible > 3_000, "{possible} are possible, {impossible} are not");
    }

    #[test]
    fn a_deadline_comes_when_it_comes() {
        let deadline = Deadline { at: 1_000, skew: 100 };
        let (param, end) = (String::from("p"), String::from(TIMED_OUT));
        let made = Attempt {
            what: What::Create(param.clone()),
            begun: (1, 1),
            ended: Some(((2, 2), Saw::Pending { param: param.clone() })),
        };
        let look =
            |begun, ended, saw: Saw| Attempt { what: What::Look, begun: (begun, 3), ended: Some(((ended, 4), saw)) };
        let saw = |attempt| contradiction(&[made.clone(), attempt], deadline);
        let over = Saw::Settled { param: param.clone(), end };
        assert!(saw(look(800, 850, over.clone())).is_some(), "it isn't over so early");
        assert_eq!(saw(look(800, 900, over.clone())), None);
        assert_eq!(saw(look(2_000, 2_001, over)), None);
        assert_eq!(saw(look(1_100, 2_000, Saw::Pending { param: param.clone() })), None);
        assert!(saw(look(1_101, 2_000, Saw::Pending { param })).is_some(), "it is over by then");
    }
}
