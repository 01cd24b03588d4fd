//! Programs for the guest `program`, made up.

use std::fmt::Write as _;

/// Xorshift64*: enough to choose from.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        // No state of the generator may be zero, and near seeds shouldn't begin alike.
        let mut dice = Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(2);
        dice
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

/// The arguments of a call, as JSON: one program.
pub(crate) fn arguments(dice: &mut Dice) -> String {
    let mut text = String::from("[");
    let mut room = 24;
    program(dice, &mut text, 0, &mut room);
    text.push(']');
    text
}

/// `room`: how many operations may still be made up.
fn program(dice: &mut Dice, text: &mut String, depth: usize, room: &mut usize) {
    text.push('[');
    let count = if depth == 0 { 2 + dice.below(5) } else { 1 + dice.below(3) };
    for n in 0..count {
        if n > 0 && *room == 0 {
            break;
        }
        *room = room.saturating_sub(1);
        if n > 0 {
            text.push(',');
        }
        op(dice, text, depth, room);
    }
    text.push(']');
}

fn op(dice: &mut Dice, text: &mut String, depth: usize, room: &mut usize) {
    let ms = [0, 1, 5, 20][dice.below(4)];
    let n = dice.below(100);
    let nested = if depth < 4 { 16 } else { 9 };
    let written = match dice.below(nested) {
        0 | 1 => write!(text, "{{\"sleep\":{ms}}}"),
        2 => write!(text, "{{\"block\":{ms}}}"),
        3 => write!(text, "\"time\""),
        4 => write!(text, "\"chance\""),
        5 | 6 => write!(text, "{{\"call\":[{ms},{n}]}}"),
        7 => write!(text, "{{\"request\":\"http://web.test/{n}\"}}"),
        8 => write!(text, "{{\"promise\":{n}}}"),
        9 => return wrapped(dice, text, "child", depth, room),
        10 => return wrapped(dice, text, "step", depth, room),
        11 => return many(dice, text, "{\"join\":", "}", depth, room),
        12 => return many(dice, text, "{\"race\":", "}", depth, room),
        13 => {
            let some = format!("{{\"some\":[{},", 1 + dice.below(3));
            return many(dice, text, &some, "]}", depth, room);
        }
        14 => {
            let _ = write!(text, "{{\"timeout\":[{ms},");
            program(dice, text, depth + 1, room);
            write!(text, "]}}")
        }
        _ => return wrapped(dice, text, "drop", depth, room),
    };
    written.expect("a text takes all");
}

fn wrapped(dice: &mut Dice, text: &mut String, name: &str, depth: usize, room: &mut usize) {
    let _ = write!(text, "{{\"{name}\":");
    program(dice, text, depth + 1, room);
    text.push('}');
}

fn many(dice: &mut Dice, text: &mut String, before: &str, after: &str, depth: usize, room: &mut usize) {
    text.push_str(before);
    text.push('[');
    for n in 0..2 + dice.below(3) {
        if n > 0 {
            text.push(',');
        }
        program(dice, text, depth + 1, room);
    }
    text.push(']');
    text.push_str(after);
}
