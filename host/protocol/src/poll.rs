//! Workers and clients that hold a connection open and are told through it, by group.
//!
//! A message to a whole group goes to one connection after the other; one to a member goes to that member only, or, if the
//! address says `any`, to another one while that member isn't there. What can't be delivered yet is kept until somebody
//! of the group comes, as far as there is room. Nobody waits for a connection that doesn't read: it loses its place.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Messages that a connection can be behind.
const BEHIND: usize = 256;
/// Connections, all together.
const CONNECTIONS: usize = 10_000;
/// Messages that wait for somebody to come, all together, and their bytes. The oldest make room: whoever wants one delivered
/// sends it again.
const WAITING: usize = 100_000;
const WAITING_BYTES: usize = 64 << 20;

/// A message that is to be delivered, or was.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Letter {
    /// A later letter with the same key takes the place of this one, as long as it waits.
    pub(super) key: Key,
    pub(super) text: String,
}

/// What a letter is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) enum Key {
    /// A task, at a version.
    Task(machine::Id, u32),
    /// A promise that was settled, and the address that is told so.
    Promise(machine::Id, String),
}

/// Who is to be told: a group, or a member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) group: String,
    pub(super) member: Option<String>,
    /// Only the member will do.
    pub(super) is_unicast: bool,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: HashMap<String, Group>,
    /// Counts connections, to tell them apart.
    numbered: u64,
    connected: usize,
    waiting: usize,
    waiting_bytes: usize,
    /// In the order in which letters began to wait, with their groups. Some wait no more.
    order: VecDeque<(u64, String)>,
}

#[derive(Debug, Default)]
struct Group {
    connections: Vec<Connection>,
    /// Whose turn it is.
    next: usize,
    waiting: VecDeque<Waiting>,
    keys: HashSet<Key>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    address: Address,
    letter: Letter,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    member: String,
    letters: mpsc::Sender<Letter>,
}

/// A place in a group.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) group: String,
    pub(super) number: u64,
    pub(super) letters: mpsc::Receiver<Letter>,
}

impl Address {
    /// Of `poll://any@group/member` or `poll://uni@group/member`.
    pub(super) fn parse(address: &str) -> Option<Address> {
        let (cast, rest) = address.strip_prefix("poll://")?.split_once('@')?;
        let (group, member) = match rest.split_once('/') {
            Some((group, member)) => (group, Some(member.to_owned()).filter(|member| !member.is_empty())),
            None => (rest, None),
        };
        Some(Address { group: group.into(), member, is_unicast: cast == "uni" })
    }
}

impl Groups {
    /// A new connection of a member of a group, and what has waited for it. None: there are too many.
    pub(super) fn join(&mut self, group: &str, member: &str) -> Option<(Subscription, Vec<Letter>)> {
        if self.connected >= CONNECTIONS {
            return None;
        }
        self.connected += 1;
        self.numbered += 1;
        let (sender, letters) = mpsc::channel(BEHIND);
        let number = self.numbered;
        let joined = self.by_name.entry(group.to_owned()).or_default();
        joined.connections.push(Connection { number, member: member.into(), letters: sender });
        let waited = joined.take_waiting(member);
        self.took(&waited);
        Some((Subscription { group: group.into(), number, letters }, waited))
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, group: &str, number: u64) {
        let Some(left) = self.by_name.get_mut(group) else { return };
        let before = left.connections.len();
        left.connections.retain(|connection| connection.number != number);
        self.connected -= before - left.connections.len();
        if left.connections.is_empty() && left.waiting.is_empty() {
            self.by_name.remove(group);
        }
    }

    /// Deliver a letter, or keep it until somebody comes.
    pub(super) fn send(&mut self, address: Address, letter: Letter) {
        if let Some(letter) = self.hand(&address, letter) {
            self.keep(address, letter);
        }
    }

    /// Deliver a letter. What comes back could be given to nobody.
    pub(super) fn hand(&mut self, address: &Address, letter: Letter) -> Option<Letter> {
        let Some(group) = self.by_name.get_mut(&address.group) else { return Some(letter) };
        let before = group.connections.len();
        let undelivered = group.deliver(address, letter);
        self.connected -= before - group.connections.len();
        undelivered
    }

    /// Keep a letter until somebody comes.
    fn keep(&mut self, address: Address, letter: Letter) {
        let name = address.group.clone();
        let group = self.by_name.entry(name.clone()).or_default();
        if !group.keys.insert(letter.key.clone()) {
            return;
        }
        self.numbered += 1;
        self.waiting += 1;
        self.waiting_bytes += letter.text.len();
        group.waiting.push_back(Waiting { number: self.numbered, address, letter });
        self.order.push_back((self.numbered, name));
        while self.waiting > WAITING || self.waiting_bytes > WAITING_BYTES || self.order.len() > 2 * WAITING {
            let Some((number, name)) = self.order.pop_front() else { break };
            self.drop_waiting(number, &name);
        }
    }

    /// Drop a letter, if it still waits. It is the first of its group then.
    fn drop_waiting(&mut self, number: u64, name: &str) {
        let Some(group) = self.by_name.get_mut(name) else { return };
        let Some(dropped) = group.waiting.pop_front_if(|waiting| waiting.number == number) else { return };
        group.keys.remove(&dropped.letter.key);
        if group.connections.is_empty() && group.waiting.is_empty() {
            self.by_name.remove(name);
        }
        self.took(&[dropped.letter]);
    }

    /// Give out the letters that a member could be given, for one that has come elsewhere.
    pub(super) fn take_waiting(&mut self, group: &str, member: &str) -> Vec<Letter> {
        let taken = self.by_name.get_mut(group).map_or(Vec::new(), |group| group.take_waiting(member));
        self.took(&taken);
        taken
    }

    fn took(&mut self, letters: &[Letter]) {
        self.waiting -= letters.len();
        self.waiting_bytes -= letters.iter().map(|letter| letter.text.len()).sum::<usize>();
    }

    /// Forget what waits.
    pub(super) fn forget(&mut self) {
        for group in self.by_name.values_mut() {
            group.waiting.clear();
            group.keys.clear();
        }
        (self.waiting, self.waiting_bytes) = (0, 0);
        self.order.clear();
        self.by_name.retain(|_, group| !group.connections.is_empty());
    }
}

impl Group {
    /// Give a letter to a connection. What comes back could be given to none.
    fn deliver(&mut self, address: &Address, mut letter: Letter) -> Option<Letter> {
        let is_member = |connection: &Connection| address.member.as_ref() == Some(&connection.member);
        // The newest connection of a member is the one that it reads.
        while let Some(index) = self.connections.iter().rposition(is_member) {
            match self.give(index, letter) {
                None => return None,
                Some(back) => letter = back,
            }
        }
        while !address.is_unicast && !self.connections.is_empty() {
            self.next = (self.next + 1) % self.connections.len();
            match self.give(self.next, letter) {
                None => return None,
                Some(back) => letter = back,
            }
        }
        Some(letter)
    }

    /// Give a letter to this connection. One that is gone, or doesn't read, loses its place.
    fn give(&mut self, index: usize, letter: Letter) -> Option<Letter> {
        match self.connections[index].letters.try_send(letter) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(letter) | mpsc::error::TrySendError::Closed(letter)) => {
                self.connections.remove(index);
                Some(letter)
            }
        }
    }

    /// The letters that a member can be given.
    fn take_waiting(&mut self, member: &str) -> Vec<Letter> {
        let (mut taken, mut kept) = (Vec::new(), VecDeque::new());
        for waiting in std::mem::take(&mut self.waiting) {
            let address = &waiting.address;
            let fits = !address.is_unicast || address.member.as_deref() == Some(member);
            if fits && taken.len() < BEHIND {
                self.keys.remove(&waiting.letter.key);
                taken.push(waiting.letter);
            } else {
                kept.push_back(waiting);
            }
        }
        self.waiting = kept;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(text: &str) -> Letter {
        Letter { key: Key::Task(machine::Id::parse(text).unwrap(), 0), text: text.into() }
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn read(subscription: &mut Subscription) -> Vec<String> {
        std::iter::from_fn(|| subscription.letters.try_recv().ok()).map(|letter| letter.text).collect()
    }

    #[test]
    fn addresses_are_read() {
        let expected = |member: Option<&str>, is_unicast| Address {
            group: "g".into(),
            member: member.map(str::to_owned),
            is_unicast,
        };
        assert_eq!(address("poll://any@g"), expected(None, false));
        assert_eq!(address("poll://uni@g/a/b"), expected(Some("a/b"), true));
        assert_eq!(address("poll://any@g/"), expected(None, false));
        assert_eq!(Address::parse("https://g"), None);
    }

    #[test]
    fn a_group_takes_turns_and_a_member_is_preferred() {
        let mut groups = Groups::default();
        let (mut a, _) = groups.join("g", "a").unwrap();
        let (mut b, _) = groups.join("g", "b").unwrap();
        for n in 0..4 {
            groups.send(address("poll://any@g"), letter(&n.to_string()));
        }
        assert_eq!((read(&mut a).len(), read(&mut b).len()), (2, 2));
        groups.send(address("poll://any@g/a"), letter("x"));
        groups.send(address("poll://uni@g/b"), letter("y"));
        assert_eq!((read(&mut a), read(&mut b)), (vec!["x".to_owned()], vec!["y".to_owned()]));
        groups.leave("g", a.number);
        groups.send(address("poll://any@g/a"), letter("z"));
        assert_eq!(read(&mut b), ["z"]);
    }

    #[test]
    fn letters_wait_for_somebody_who_may_have_them() {
        let mut groups = Groups::default();
        groups.send(address("poll://uni@g/a"), letter("for a"));
        groups.send(address("poll://any@g/a"), letter("for any"));
        groups.send(address("poll://any@g/a"), letter("for any"));
        let texts = |waited: Vec<Letter>| waited.into_iter().map(|letter| letter.text).collect::<Vec<_>>();
        let (b, waited) = groups.join("g", "b").unwrap();
        assert_eq!(texts(waited), ["for any"]);
        assert_eq!(texts(groups.join("g", "a").unwrap().1), ["for a"]);
        groups.leave("g", b.number);
        assert_eq!(groups.waiting, 0);
    }

    #[test]
    fn the_oldest_letters_make_room() {
        let mut groups = Groups::default();
        let large = "x".repeat(WAITING_BYTES / 4);
        for n in 0..6 {
            let key = letter(&format!("l{n}")).key;
            groups.send(address(&format!("poll://any@g{}", n % 2)), Letter { key, text: large.clone() });
        }
        assert_eq!((groups.waiting, groups.waiting_bytes), (4, 4 * large.len()));
        let keys = |waited: Vec<Letter>| waited.into_iter().map(|letter| letter.key).collect::<Vec<_>>();
        assert_eq!(keys(groups.join("g0", "a").unwrap().1), ["l2", "l4"].map(|text| letter(text).key));
        assert_eq!(keys(groups.join("g1", "a").unwrap().1), ["l3", "l5"].map(|text| letter(text).key));
        assert_eq!((groups.waiting, groups.waiting_bytes), (0, 0));
    }

    #[test]
    fn who_does_not_read_loses_its_place() {
        let mut groups = Groups::default();
        let (_deaf, _) = groups.join("g", "deaf").unwrap();
        for n in 0..=BEHIND {
            groups.send(address("poll://any@g"), letter(&n.to_string()));
        }
        assert_eq!((groups.connected, groups.waiting), (0, 1));
        let (_, waited) = groups.join("g", "hears").unwrap();
        assert_eq!(waited.len(), 1);
    }
}
