//! How often what happened.

/// What happened: a simulation in which something never happens shows less than it says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub appended: u64,
    pub refused: u64,
    pub takeovers: u64,
    pub crashes: u64,
    pub pauses: u64,
    pub unknown: u64,
    pub found_missing: u64,
    pub found_durable: u64,
    pub mail: u64,
    pub repeated_mail: u64,
    pub snapshots: u64,
    pub restored: u64,
    pub late_answers: u64,
    pub asked: u64,
    pub messages: u64,
    pub tasks_taken: u64,
    pub turns_elsewhere: u64,
    pub late_turns: u64,
    pub slow_disks: u64,
    pub failing_disks: u64,
    pub rolled_back: u64,
}

impl Counts {
    pub fn add(&mut self, more: &Counts) {
        for (count, more) in self.all_mut().into_iter().zip(more.all()) {
            *count += more;
        }
    }

    pub fn all(&self) -> [u64; 22] {
        let mut copy = *self;
        copy.all_mut().map(|count| *count)
    }

    fn all_mut(&mut self) -> [&mut u64; 22] {
        let Counts { events, appended, refused, takeovers, crashes, pauses, unknown, found_missing, .. } = self;
        let Counts { found_durable, mail, repeated_mail, snapshots, restored, late_answers, rolled_back, .. } = self;
        let Counts { asked, messages, tasks_taken, turns_elsewhere, late_turns, slow_disks, failing_disks, .. } = self;
        [
            events,
            appended,
            refused,
            takeovers,
            crashes,
            pauses,
            unknown,
            found_missing,
            found_durable,
            mail,
            repeated_mail,
            snapshots,
            restored,
            late_answers,
            asked,
            messages,
            tasks_taken,
            turns_elsewhere,
            late_turns,
            slow_disks,
            failing_disks,
            rolled_back,
        ]
    }
}
