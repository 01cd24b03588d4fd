//! Which node is to have which partition. A pure function of what all nodes see alike, so that they agree without
//! talking: partitions are spread evenly, and as few as possible move.
//!
//! It is a wish, not a right: who takes a partition is decided by the database, row by row.

use std::collections::{BTreeMap, BTreeSet};

/// Number of a node, given by the database when it starts, and never again.
pub(super) type NodeId = i64;

/// What a node is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Partitions that nobody has, and that are for this node.
    pub(super) take: Vec<u8>,
    /// Partitions that this node has, and that are for others.
    pub(super) give: Vec<u8>,
}

/// The nodes that are to have nothing, because some that live don't reach them or aren't reached by them: those that are
/// left all reach each other. `unreached` has each node that could have something, with the others that don't answer it.
///
/// Whoever has the most such links goes first, of several whoever answers the fewest, and of those the youngest. So one
/// always stays, and a node that comes with an address at which nobody reaches it harms nobody.
pub(super) fn cut_off(unreached: &BTreeMap<NodeId, Vec<NodeId>>) -> BTreeSet<NodeId> {
    // Both ways: a node that can't ask others is of as little use as one that can't be asked.
    let mut broken: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    let mut silent: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (node, others) in unreached {
        for other in others.iter().filter(|other| *other != node && unreached.contains_key(other)) {
            broken.entry(*node).or_default().insert(*other);
            broken.entry(*other).or_default().insert(*node);
            *silent.entry(*other).or_default() += 1;
        }
    }
    let mut cut_off = BTreeSet::new();
    while let Some((worst, others)) = broken
        .iter()
        .max_by_key(|(node, others)| (others.len(), silent.get(node), **node))
        .map(|(n, o)| (*n, o.clone()))
        && !others.is_empty()
    {
        broken.remove(&worst);
        for other in others {
            broken.entry(other).or_default().remove(&worst);
        }
        cut_off.insert(worst);
    }
    cut_off
}

/// What `own` is to do, where `nodes` are those that live, stay and reach each other, and `owners` has the living owner of each partition.
pub(super) fn plan(own: NodeId, nodes: &[NodeId], owners: &[Option<NodeId>]) -> Plan {
    let mut held: BTreeMap<NodeId, Vec<u8>> = nodes.iter().map(|node| (*node, Vec::new())).collect();
    let mut plan = Plan::default();
    let mut free = Vec::new();
    for (partition, owner) in owners.iter().enumerate() {
        let partition = partition as u8;
        match owner {
            None => free.push(partition),
            Some(owner) => match held.get_mut(owner) {
                Some(of_owner) => of_owner.push(partition),
                // Its owner is about to leave, or cut off, and gives it away by itself.
                None if *owner == own => plan.give.push(partition),
                None => {}
            },
        }
    }
    if held.is_empty() {
        return plan;
    }
    // Those that have the most keep one more, where it doesn't come out even.
    let (least, more) = (owners.len() / held.len(), owners.len() % held.len());
    let mut ranked: Vec<NodeId> = held.keys().copied().collect();
    ranked.sort_by_key(|node| (std::cmp::Reverse(held[node].len()), *node));
    let quota = |rank: usize| least + usize::from(rank < more);
    let mut free = free.into_iter();
    for (rank, node) in ranked.iter().enumerate() {
        let of_node = &held[node];
        let excess = of_node.len().saturating_sub(quota(rank));
        let taken: Vec<u8> = free.by_ref().take(quota(rank).saturating_sub(of_node.len())).collect();
        if *node == own {
            plan.give.extend(of_node.iter().rev().take(excess));
            plan.take = taken;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Let all nodes do what they are to, until nothing is left to do. How many partitions moved away from a node.
    fn settle(nodes: &[NodeId], owners: &mut Vec<Option<NodeId>>) -> usize {
        let mut moved = 0;
        for _ in 0..10 {
            let plans: Vec<(NodeId, Plan)> = nodes.iter().map(|node| (*node, plan(*node, nodes, owners))).collect();
            if plans.iter().all(|(_, plan)| *plan == Plan::default()) {
                return moved;
            }
            for (node, plan) in plans {
                for partition in plan.give {
                    assert_eq!(owners[usize::from(partition)].take(), Some(node), "it gives what it has");
                    moved += 1;
                }
                for partition in plan.take {
                    assert_eq!(owners[usize::from(partition)].replace(node), None, "nobody else takes it");
                }
            }
        }
        panic!("it doesn't come to rest: {owners:?}");
    }

    fn counts(nodes: &[NodeId], owners: &[Option<NodeId>]) -> Vec<usize> {
        nodes.iter().map(|node| owners.iter().filter(|owner| **owner == Some(*node)).count()).collect()
    }

    #[test]
    fn partitions_spread_evenly_and_few_move() {
        let mut owners = vec![None; 256];
        assert_eq!(settle(&[1], &mut owners), 0);
        assert_eq!(counts(&[1], &owners), [256]);
        // One comes: half of them move. Another: a third.
        assert_eq!(settle(&[1, 2], &mut owners), 128);
        assert_eq!(settle(&[1, 2, 3], &mut owners), 85);
        let mut spread = counts(&[1, 2, 3], &owners);
        spread.sort_unstable();
        assert_eq!(spread, [85, 85, 86]);
        // One dies: only what it had moves, to both others.
        owners.iter_mut().filter(|owner| **owner == Some(2)).for_each(|owner| *owner = None);
        assert_eq!(settle(&[1, 3], &mut owners), 0);
        assert_eq!(counts(&[1, 3], &owners), [128, 128]);
        // More nodes than partitions: some have none, and nothing moves to and fro.
        let many: Vec<NodeId> = (1..=300).collect();
        settle(&many, &mut owners);
        assert!(counts(&many, &owners).iter().all(|count| *count <= 1));
    }

    /// Who is cut off, where these don't answer those.
    fn without(nodes: i64, unreached: &[(i64, &[i64])]) -> Vec<i64> {
        let mut all: BTreeMap<i64, Vec<i64>> = (1..=nodes).map(|node| (node, Vec::new())).collect();
        all.extend(unreached.iter().map(|(node, others)| (*node, others.to_vec())));
        cut_off(&all).into_iter().collect()
    }

    #[test]
    fn those_that_are_left_reach_each_other() {
        assert!(without(3, &[]).is_empty());
        // One alone, as all see it, as it sees itself, and as others see it.
        assert_eq!(without(3, &[(1, &[2, 3]), (2, &[1]), (3, &[1])]), [1]);
        assert_eq!(without(3, &[(1, &[2, 3])]), [1]);
        assert_eq!(without(3, &[(2, &[1]), (3, &[1])]), [1]);
        // Of two, the one that isn't reached; or the younger one, if neither is.
        assert_eq!(without(2, &[(2, &[1])]), [1]);
        assert_eq!(without(2, &[(1, &[2])]), [2]);
        assert_eq!(without(2, &[(1, &[2]), (2, &[1])]), [2]);
        // One link of many costs one node.
        assert_eq!(without(5, &[(2, &[4]), (4, &[2])]), [4]);
        // The larger part goes on; of two halves, one.
        assert_eq!(without(5, &[(1, &[3, 4, 5]), (2, &[3, 4, 5])]), [1, 2]);
        assert_eq!(without(4, &[(1, &[3, 4]), (2, &[3, 4]), (3, &[1, 2]), (4, &[1, 2])]), [3, 4]);
        // With none at all, the oldest is a host by itself.
        assert_eq!(without(3, &[(1, &[2, 3]), (2, &[1, 3]), (3, &[1, 2])]), [2, 3]);
        // What is said of nodes that are gone, or of itself, is nothing.
        assert!(without(2, &[(1, &[1, 7]), (2, &[9])]).is_empty());
    }

    #[test]
    fn a_node_that_leaves_gives_everything_and_takes_nothing() {
        let owners: Vec<_> = (0..256).map(|n| Some(1 + n % 2)).collect();
        let leaving = plan(2, &[1], &owners);
        assert_eq!((leaving.take.len(), leaving.give.len()), (0, 128));
        assert_eq!(plan(2, &[], &owners).give.len(), 128);
    }
}
