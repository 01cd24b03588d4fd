//! All mail of a partition, in memory: it holds what other partitions haven't had yet, which is little when all is well,
//! and is bounded by who turns work away when it isn't.

use machine::{Mail, Message};

use super::cut::MailCut;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    mail: Mail,
    /// What the tables don't have as it is.
    unsaved: MailCut,
}

impl Outbox {
    pub(super) fn new(mail: Mail) -> Outbox {
        Outbox { mail, unsaved: MailCut::default() }
    }

    pub(super) fn mail(&self) -> &Mail {
        &self.mail
    }

    pub(super) fn post(&mut self, to: u8, message: Message) {
        let (number, message) = self.mail.post(to, message);
        self.unsaved.posted.insert((to, number), message);
        self.unsaved.sent.insert(to, number);
    }

    pub(super) fn delivered(&mut self, to: u8, number: u64) -> bool {
        let any = self.mail.delivered(to, number);
        if any {
            let rest = self.unsaved.posted.split_off(&(to, number + 1));
            let before = self.unsaved.posted.split_off(&(to, 0));
            drop(before);
            self.unsaved.posted.extend(rest);
            self.unsaved.delivered.insert(to, number);
        }
        any
    }

    pub(super) fn receive(&mut self, from: u8, number: u64) {
        self.mail.received.insert(from, number);
        self.unsaved.received.insert(from, number);
    }

    /// What the tables don't have as it is: for a cut.
    pub(super) fn take_unsaved(&mut self) -> MailCut {
        std::mem::take(&mut self.unsaved)
    }
}
