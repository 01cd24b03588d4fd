//! Which of the other nodes answer this one.
//!
//! Each is asked several times in a lease. What is believed of it changes only when a lease's worth of attempts in a row
//! say otherwise, so that no partition moves for an answer that was late, or to and fro with a link that comes and goes.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::assignment::NodeId;
use super::front;
use super::node::Node;

/// How often others are asked while a lease lasts, and how many attempts in a row change what is believed.
const IN_A_LEASE: u32 = 5;
/// The least that an answer may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is believed of the others.
#[derive(Default)]
pub(super) struct Reach(Mutex<HashMap<NodeId, Contact>>);

/// What is believed of one. It is reached until it turns out not to be.
#[derive(Default)]
struct Contact {
    is_silent: bool,
    /// How many attempts in a row said otherwise.
    contrary: u32,
}

impl Reach {
    /// Those that don't answer.
    pub(super) fn silent(&self) -> Vec<NodeId> {
        self.0.lock().iter().filter(|(_, contact)| contact.is_silent).map(|(node, _)| *node).collect()
    }

    /// Whether this one doesn't.
    pub(super) fn is_silent(&self, node: NodeId) -> bool {
        self.0.lock().get(&node).is_some_and(|contact| contact.is_silent)
    }

    /// Forget all but these.
    fn keep(&self, nodes: &[NodeId]) {
        self.0.lock().retain(|node, _| nodes.contains(node));
    }

    /// One more attempt. Whether it changed what is believed.
    fn tell(&self, node: NodeId, has_answered: bool) -> bool {
        self.0.lock().entry(node).or_default().tell(has_answered)
    }
}

impl Contact {
    fn tell(&mut self, has_answered: bool) -> bool {
        let is_contrary = has_answered == self.is_silent;
        self.contrary = if is_contrary { self.contrary + 1 } else { 0 };
        let has_changed = self.contrary == IN_A_LEASE;
        if has_changed {
            *self = Contact { is_silent: !has_answered, contrary: 0 };
        }
        has_changed
    }
}

/// Ask all others again and again, until the process ends.
pub(super) async fn run(node: Node) {
    let interval = node.0.options.lease / IN_A_LEASE;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let others = node.others();
        node.0.reach.keep(&others);
        let ask = |peer| {
            let asked = front::is_there(&node, peer, interval.max(PATIENCE));
            async move { (peer, asked.await) }
        };
        for (peer, has_answered) in futures::future::join_all(others.into_iter().map(ask)).await {
            if !node.0.reach.tell(peer, has_answered) {
                continue;
            }
            match has_answered {
                true => tracing::info!("node {peer} answers again"),
                false => tracing::warn!("node {peer} doesn't answer"),
            }
            // What is said of it goes with the next renewal of the lease.
            node.look_soon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_lease_to_be_believed() {
        let mut contact = Contact::default();
        let mut tell = |answers: &[bool]| -> Vec<bool> {
            answers
                .iter()
                .map(|answer| {
                    contact.tell(*answer);
                    contact.is_silent
                })
                .collect()
        };
        // One that comes and goes is as it was.
        assert_eq!(tell(&[false, false, false, false, true, false, true]), [false; 7]);
        assert_eq!(tell(&[false; 6]), [false, false, false, false, true, true]);
        assert_eq!(tell(&[true, true, true, true, false]), [true; 5]);
        assert_eq!(tell(&[true; 6]), [true, true, true, true, false, false]);
    }
}
