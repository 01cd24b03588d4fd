//! Delivering messages: the one [`Courier`] of a host.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use machine::{Id, Promise, Settings};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;

use super::poll::{Address, Groups, Key, Letter, Subscription};
use super::push::Push;
use super::records::Record;
use host_outbound::Client;
use host_partition::{Courier, Message, Partition};

/// What is to be delivered, and to whom. Clones are the same post.
#[derive(Clone)]
pub struct Post {
    shared: Arc<Shared>,
}

struct Shared {
    groups: Mutex<Groups>,
    settings: Settings,
    /// Who is told what has arrived, and knows what is still to be delivered.
    sender: OnceLock<Arc<dyn Sender>>,
    /// Where workers reach this host.
    url: OnceLock<String>,
    push: OnceLock<Push>,
}

/// Whose messages these are.
pub trait Sender: Send + Sync {
    /// Whether a task can be taken at a version.
    fn is_offered(&self, id: &Id, version: u32) -> bool;
    /// Whether an address is to be told of a settled promise.
    fn is_untold(&self, id: &Id, address: &str) -> bool;
    /// An address was told of a settled promise.
    fn delivered(&self, id: Id, address: String);
}

impl Sender for Partition {
    fn is_offered(&self, id: &Id, version: u32) -> bool {
        self.is_offered(id, version)
    }

    fn is_untold(&self, id: &Id, address: &str) -> bool {
        self.is_untold(id, address)
    }

    fn delivered(&self, id: Id, address: String) {
        self.delivered(id, address);
    }
}

/// A connection that is told what its member and its group are to know.
pub struct Line {
    post: Post,
    subscription: Subscription,
    /// What had waited for it.
    waited: VecDeque<Letter>,
    /// What was handed out last: it has arrived once something more is asked for.
    last: Option<Key>,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: &'static str,
    head: Head<'a>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Data<'a> {
    Task { id: &'a str, version: u32 },
    Promise(Record<'a>),
}

impl Post {
    /// Of a host with these settings. It delivers nothing until it has been opened.
    pub fn new(settings: Settings) -> Post {
        let shared = Shared {
            groups: Mutex::default(),
            settings,
            sender: OnceLock::new(),
            url: OnceLock::new(),
            push: OnceLock::new(),
        };
        Post { shared: Arc::new(shared) }
    }

    /// Say whose messages these are, where the host is reached, and what sends requests. Within a runtime of tokio.
    pub fn open(&self, sender: Arc<dyn Sender>, url: String, client: Client) {
        // It is opened once.
        let _ = self.shared.sender.set(sender);
        let _ = self.shared.url.set(url);
        let _ = self.shared.push.set(Push::new(client, Handle::current()));
    }

    /// A connection of a member of a group. None: there are too many connections.
    pub fn connect(&self, group: &str, member: &str) -> Option<Line> {
        let (subscription, waited) = self.shared.groups.lock().join(group, member)?;
        let waited = waited.into_iter().filter(|letter| self.is_wanted(&letter.key)).collect();
        Some(Line { post: self.clone(), subscription, waited, last: None })
    }

    /// Whether what has waited is still to be delivered.
    fn is_wanted(&self, key: &Key) -> bool {
        let Some(sender) = self.shared.sender.get() else { return false };
        match key {
            Key::Task(id, version) => sender.is_offered(id, *version),
            Key::Promise(id, address) => sender.is_untold(id, address),
        }
    }

    /// Send what waits for an address.
    pub(super) async fn push_all(&self, address: &str) {
        let Some(push) = self.shared.push.get() else { return };
        while let Some((url, letter)) = push.next(self, address) {
            if let Some(key) = push.deliver(&url, letter).await {
                self.arrived(key);
            }
        }
    }

    fn arrived(&self, key: Key) {
        if let (Key::Promise(id, address), Some(sender)) = (key, self.shared.sender.get()) {
            sender.delivered(id, address);
        }
    }

    fn text(&self, kind: &'static str, data: Data<'_>) -> String {
        let server_url = self.shared.url.get().map(String::as_str).filter(|_| kind == "execute");
        serde_json::to_string(&Body { kind, head: Head { server_url }, data }).expect("a message is JSON")
    }

    fn unblock(&self, promise: &Promise) -> String {
        let record = Record { promise, settings: &self.shared.settings, now: 0 };
        self.text("unblock", Data::Promise(record))
    }
}

impl Post {
    /// A message as it is sent, with its address.
    pub fn write(&self, message: Message) -> (String, Letter) {
        match message {
            Message::Execute { id, version, address } => {
                let text = self.text("execute", Data::Task { id: id.as_str(), version });
                (address, Letter { key: Key::Task(id, version), text })
            }
            Message::Unblock { promise, address } => {
                let key = Key::Promise(promise.id.clone(), address.clone());
                (address, Letter { key, text: self.unblock(&promise) })
            }
        }
    }

    /// Give a letter to somebody who is connected here, or send it soon, if it goes to a URL. What comes back could be given
    /// to nobody.
    pub fn hand(&self, address: &str, letter: Letter) -> Option<Letter> {
        match Address::parse(address) {
            Some(address) => self.shared.groups.lock().hand(&address, letter),
            None => {
                if let Some(push) = self.shared.push.get() {
                    push.send(self, address.to_owned(), letter);
                }
                None
            }
        }
    }

    /// The same, and what could be given to nobody is kept until somebody comes.
    pub fn deliver(&self, address: &str, letter: Letter) {
        if let (Some(letter), Some(address)) = (self.hand(address, letter), Address::parse(address)) {
            self.shared.groups.lock().send(address, letter);
        }
    }

    /// Give out what has waited for a member of a group, for one that has come elsewhere.
    pub fn take_waiting(&self, group: &str, member: &str) -> Vec<Letter> {
        let taken = self.shared.groups.lock().take_waiting(group, member);
        taken.into_iter().filter(|letter| self.is_wanted(&letter.key)).collect()
    }
}

impl Courier for Post {
    fn send(&self, message: Message) {
        let (address, letter) = self.write(message);
        self.deliver(&address, letter);
    }

    fn forget(&self) {
        self.shared.groups.lock().forget();
        if let Some(push) = self.shared.push.get() {
            push.forget();
        }
    }
}

impl Line {
    /// The next message. None: the connection has lost its place, because it didn't read.
    pub async fn next(&mut self) -> Option<String> {
        if let Some(last) = self.last.take() {
            self.post.arrived(last);
        }
        let letter = match self.waited.pop_front() {
            Some(letter) => letter,
            None => self.subscription.letters.recv().await?,
        };
        self.last = Some(letter.key);
        Some(letter.text)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Subscription { group, number, .. } = &self.subscription;
        self.post.shared.groups.lock().leave(group, *number);
    }
}
