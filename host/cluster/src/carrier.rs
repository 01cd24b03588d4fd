//! Carrying mail from a partition that is here to all others, wherever they are.
//!
//! Only what is durable is carried, and it is carried until the receiver has it, durably. It can come twice; the
//! receiver knows its number.

use std::sync::Arc;
use std::time::Duration;

use machine::Message;

use super::front;
use super::node::{Node, Owned};

/// How many messages are carried at a time to a partition.
const AT_ONCE: usize = 256;
/// Between attempts, when something could not be delivered; and how often to look without being told.
const RETRY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(5);

pub(super) async fn run(node: Node, from: u8, owned: Arc<Owned>) {
    let mut gone = owned.gone.subscribe();
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            _ = gone.wait_for(|gone| *gone) => return,
            () = owned.posted.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        let mail = match owned.partition.mail(AT_ONCE).await {
            Ok(mail) => mail,
            Err(_) if owned.partition.failure().is_some() => return,
            // It isn't durable yet what there is, or there is no room for it.
            Err(_) => {
                wait = RETRY;
                continue;
            }
        };
        let deliver = |(to, messages): (u8, Vec<(u64, Message)>)| deliver(&node, &owned, from, to, messages);
        let delivered = futures::future::join_all(mail.into_iter().map(deliver)).await;
        wait = match (delivered.is_empty(), delivered.iter().all(|done| *done)) {
            (true, _) => IDLE,
            // There may be more than was carried at once.
            (false, true) => Duration::ZERO,
            (false, false) => RETRY,
        };
    }
}

async fn deliver(node: &Node, owned: &Owned, from: u8, to: u8, messages: Vec<(u64, Message)>) -> bool {
    let Some((last, _)) = messages.last() else { return true };
    let last = *last;
    let delivered = match node.owned(to) {
        Some(receiver) => receiver.partition.receive(from, messages).await.map_err(anyhow::Error::from),
        None => front::send_mail(node, from, to, messages).await,
    };
    match delivered {
        Ok(()) => {
            owned.partition.mail_delivered(to, last);
            true
        }
        Err(error) => {
            tracing::debug!("mail from partition {from} to {to} waits: {error:#}");
            false
        }
    }
}
