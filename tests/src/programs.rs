//! Programs for the guest `program`, made up.

use std::fmt::Write as _;

/// Which programs are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Any.
    Wild,
    /// Those that do the same however fast things go: nothing of it depends on time, on chance or on what ends first.
    Calm,
}

/// Makes up programs.
pub struct Programs {
    /// Xorshift64*: enough to choose from.
    state: u64,
    manner: Manner,
    /// What requests are sent to.
    place: String,
    /// How many operations may still be made up for a program.
    room: usize,
    text: String,
}

impl Programs {
    /// From a seed, with requests to addresses below `place`.
    pub fn new(seed: u64, manner: Manner, place: &str) -> Programs {
        // No state of the generator may be zero, and near seeds shouldn't begin alike.
        let state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut programs = Programs { state, manner, place: place.to_owned(), room: 0, text: String::new() };
        programs.below(2);
        programs
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// The arguments of a call, as JSON: one program.
    pub fn arguments(&mut self) -> String {
        self.room = 24;
        self.text = String::from("[");
        self.program(0);
        self.text.push(']');
        std::mem::take(&mut self.text)
    }

    fn program(&mut self, depth: usize) {
        self.text.push('[');
        let count = if depth == 0 { 2 + self.below(5) } else { 1 + self.below(3) };
        for n in 0..count {
            if n > 0 && self.room == 0 {
                break;
            }
            self.room = self.room.saturating_sub(1);
            if n > 0 {
                self.text.push(',');
            }
            self.op(depth);
        }
        self.text.push(']');
    }

    fn op(&mut self, depth: usize) {
        let ms = [0, 1, 5, 20][self.below(4)];
        let n = self.below(100);
        let nested = if depth < 4 { 16 } else { 9 };
        let written = match self.kind(nested) {
            0 | 1 => format!("{{\"sleep\":{ms}}}"),
            2 => format!("{{\"block\":{ms}}}"),
            3 => "\"time\"".into(),
            4 => "\"chance\"".into(),
            5 | 6 => format!("{{\"call\":[{ms},{n}]}}"),
            7 => format!("{{\"request\":\"{}/{n}\"}}", self.place),
            8 => format!("{{\"promise\":{n}}}"),
            9 => return self.wrapped("{\"child\":", "}", depth),
            10 => return self.wrapped("{\"step\":", "}", depth),
            11 => return self.many("{\"join\":", "}", depth),
            12 => return self.many("{\"race\":", "}", depth),
            13 => {
                let some = format!("{{\"some\":[{},", 1 + self.below(3));
                return self.many(&some, "]}", depth);
            }
            14 => return self.wrapped(&format!("{{\"timeout\":[{ms},"), "]}", depth),
            _ => return self.wrapped("{\"drop\":", "}", depth),
        };
        self.text.push_str(&written);
    }

    fn kind(&mut self, kinds: usize) -> usize {
        loop {
            let kind = self.below(kinds);
            if self.manner == Manner::Wild || !matches!(kind, 3 | 4 | 12..) {
                return kind;
            }
        }
    }

    fn wrapped(&mut self, before: &str, after: &str, depth: usize) {
        self.text.push_str(before);
        self.program(depth + 1);
        self.text.push_str(after);
    }

    fn many(&mut self, before: &str, after: &str, depth: usize) {
        let _ = write!(self.text, "{before}[");
        for n in 0..2 + self.below(3) {
            if n > 0 {
                self.text.push(',');
            }
            self.program(depth + 1);
        }
        let _ = write!(self.text, "]{after}");
    }
}
