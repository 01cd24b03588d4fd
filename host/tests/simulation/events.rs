//! What can happen, each at its time.

use host::simulation::{Answer, End, Group, Key, MemoryFile, Message as Post};
use machine::{Id, Message};

use super::clients::Ask;
use super::database::{Seen, Taken};
use super::nodes::Carrier;
use super::protocol::Reply;
use super::rooms::{Played, Said};

pub enum Event {
    Tick {
        node: usize,
        life: u64,
    },
    LookAtDatabase {
        node: usize,
        life: u64,
        begun: u64,
    },
    Looked {
        node: usize,
        life: u64,
        begun: u64,
        id: i64,
        seen: Seen,
    },
    TakeAtDatabase {
        node: usize,
        life: u64,
        id: i64,
        places: Vec<usize>,
    },
    Restore {
        node: usize,
        life: u64,
        id: i64,
        taken: Taken,
    },
    NotTaken {
        node: usize,
        life: u64,
        id: i64,
        place: usize,
    },
    Give {
        id: i64,
        place: usize,
        epoch: i64,
    },
    Work {
        carrier: Carrier,
    },
    AppendAtDatabase {
        carrier: Carrier,
        id: i64,
        number: u64,
        end: End,
        group: Group,
        back: Option<u64>,
    },
    Appended {
        carrier: Carrier,
        number: u64,
        epoch: i64,
        accepted: bool,
    },
    AppendIsLate {
        carrier: Carrier,
        number: u64,
    },
    FindOut {
        carrier: Carrier,
        id: i64,
        number: u64,
    },
    Found {
        carrier: Carrier,
        number: u64,
        seen: Option<End>,
    },
    Mail {
        node: usize,
        carrier: Carrier,
        to: u8,
        messages: Vec<(u64, Message)>,
    },
    Delivered {
        carrier: Carrier,
        to: u8,
        number: u64,
    },
    Save {
        id: i64,
        place: usize,
        applied: u64,
        after: (u64, [u8; 32]),
        file: MemoryFile,
    },
    Client {
        client: usize,
    },
    ClientIsLate {
        client: usize,
        attempt: u64,
    },
    Asked {
        node: usize,
        client: usize,
        attempt: u64,
        ask: Ask,
        began: u64,
        forwarded: bool,
    },
    /// What came of it, if it is one of the protocol.
    Answered {
        client: usize,
        attempt: u64,
        reply: Option<Reply>,
    },
    /// To a worker or a client that listens.
    Posted {
        carrier: Carrier,
        message: Post,
    },
    Told {
        carrier: Carrier,
        id: Id,
        address: String,
    },
    /// A guest is to take a turn.
    GuestAsked {
        node: usize,
        life: u64,
        number: u64,
        key: Key,
        home: Carrier,
        turn: u64,
        said: Said,
    },
    /// It has taken it.
    GuestRests {
        node: usize,
        life: u64,
        number: u64,
        key: Key,
        home: Carrier,
        turn: u64,
        guest: Played,
        answer: Answer,
    },
    /// What it did comes back.
    GuestDid {
        home: Carrier,
        number: u64,
        turn: u64,
        answer: Answer,
    },
    GuestIsLate {
        home: Carrier,
        number: u64,
        turn: u64,
    },
    GuestLeaves {
        node: usize,
        key: Key,
    },
    Trouble,
    Restart {
        node: usize,
    },
}

impl Event {
    /// Whose process it needs.
    pub fn node(&self) -> Option<usize> {
        match self {
            Event::Tick { node, .. }
            | Event::Looked { node, .. }
            | Event::Restore { node, .. }
            | Event::NotTaken { node, .. }
            | Event::Mail { node, .. }
            | Event::Asked { node, .. }
            | Event::GuestAsked { node, .. }
            | Event::GuestRests { node, .. }
            | Event::GuestLeaves { node, .. } => Some(*node),
            Event::Work { carrier }
            | Event::Appended { carrier, .. }
            | Event::AppendIsLate { carrier, .. }
            | Event::Found { carrier, .. }
            | Event::Told { carrier, .. }
            | Event::Delivered { carrier, .. } => Some(carrier.node),
            Event::GuestDid { home, .. } | Event::GuestIsLate { home, .. } => Some(home.node),
            _ => None,
        }
    }

    /// For the trace.
    pub fn kind(&self) -> u64 {
        match self {
            Event::Tick { .. } => 0,
            Event::LookAtDatabase { .. } => 1,
            Event::Looked { .. } => 2,
            Event::TakeAtDatabase { .. } => 3,
            Event::Restore { .. } => 4,
            Event::Give { .. } => 5,
            Event::Work { .. } => 6,
            Event::AppendAtDatabase { .. } => 7,
            Event::Appended { .. } => 8,
            Event::AppendIsLate { .. } => 9,
            Event::FindOut { .. } => 10,
            Event::Found { .. } => 11,
            Event::Mail { .. } => 12,
            Event::Delivered { .. } => 13,
            Event::Save { .. } => 14,
            Event::Client { .. } => 15,
            Event::ClientIsLate { .. } => 16,
            Event::Asked { .. } => 17,
            Event::Answered { .. } => 18,
            Event::Trouble => 19,
            Event::Restart { .. } => 20,
            Event::NotTaken { .. } => 21,
            Event::Posted { .. } => 22,
            Event::Told { .. } => 23,
            Event::GuestAsked { .. } => 24,
            Event::GuestRests { .. } => 25,
            Event::GuestDid { .. } => 26,
            Event::GuestIsLate { .. } => 27,
            Event::GuestLeaves { .. } => 28,
        }
    }
}
