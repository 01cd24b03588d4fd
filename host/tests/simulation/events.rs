//! What can happen, each at its time.

use host_cluster::Key;
use host_partition::{Answer, Message as Post};
use host_store::MemoryFile;
use machine::{Id, Message};

use super::appends::{Question, Said as LedgerAnswer};
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
    LedgerAsked {
        node: usize,
        life: u64,
        number: u64,
        question: Question,
        back: Option<u64>,
    },
    /// None: it has said nothing for too long.
    LedgerSaid {
        node: usize,
        life: u64,
        number: u64,
        said: Option<LedgerAnswer>,
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
            | Event::LedgerSaid { node, .. }
            | Event::GuestAsked { node, .. }
            | Event::GuestRests { node, .. }
            | Event::GuestLeaves { node, .. } => Some(*node),
            Event::Work { carrier } | Event::Told { carrier, .. } | Event::Delivered { carrier, .. } => {
                Some(carrier.node)
            }
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
            Event::LedgerAsked { .. } => 7,
            Event::LedgerSaid { .. } => 8,
            Event::Mail { .. } => 9,
            Event::Delivered { .. } => 10,
            Event::Save { .. } => 11,
            Event::Client { .. } => 12,
            Event::ClientIsLate { .. } => 13,
            Event::Asked { .. } => 14,
            Event::Answered { .. } => 15,
            Event::Trouble => 16,
            Event::Restart { .. } => 17,
            Event::NotTaken { .. } => 18,
            Event::Posted { .. } => 19,
            Event::Told { .. } => 20,
            Event::GuestAsked { .. } => 21,
            Event::GuestRests { .. } => 22,
            Event::GuestDid { .. } => 23,
            Event::GuestIsLate { .. } => 24,
            Event::GuestLeaves { .. } => 25,
        }
    }
}
