//! What other partitions are sent, and what comes from them. It leaves once it is durable here, and is forgotten once it
//! is durable there; it can come twice, and the machine knows its number.

use std::collections::BTreeMap;

use machine::{Message, Op};

use super::{Error, Partition};

/// Messages for one partition, with their numbers.
pub type Bundle = (u8, Vec<(u64, Message)>);

impl Partition {
    /// What there is for other partitions, durably: at most so many messages for each.
    pub async fn mail(&self, limit: usize) -> Result<Vec<Bundle>, Error> {
        self.read(|inner| inner.view.receivers().into_iter().map(|to| (to, inner.view.mail(to, limit))).collect()).await
    }

    /// The number of the last message to each other partition.
    pub fn mail_sent(&self) -> BTreeMap<u8, u64> {
        self.shared.lock().view.sent()
    }

    /// Whether other partitions have all messages up to these.
    pub fn is_mail_delivered(&self, sent: &BTreeMap<u8, u64>) -> bool {
        self.shared.lock().view.is_delivered(sent)
    }

    /// Messages have come from another partition, in order. What they lead to is durable when this returns.
    pub async fn receive(&self, from: u8, messages: Vec<(u64, Message)>) -> Result<(), Error> {
        let (result, durable) = {
            let mut inner = self.shared.lock();
            // It is part of work that was taken on long ago: what is new is turned away before it.
            inner.admit_underway()?;
            let receive = |(number, message)| {
                let op = Op::Receive { from, number, message: Box::new(message) };
                inner.apply(op).map(drop)
            };
            let result = messages.into_iter().try_for_each(receive);
            (result, inner.durable())
        };
        self.until(durable).await?;
        Ok(result?)
    }

    /// Another partition has all messages up to this number, durably.
    pub fn mail_delivered(&self, to: u8, number: u64) {
        let mut inner = self.shared.lock();
        if !inner.stopping && !inner.is_over() {
            // It rejects nothing.
            let _ = inner.apply(Op::Delivered { to, number });
        }
    }
}
