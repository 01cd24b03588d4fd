//! The promise protocol as its specification has it, in the plainest way there is: maps, and one function per rule.
//!
//! It is written from the specification of Resonate's protocol (its part 02, the abstract machine) and from nothing of
//! this host's. What the host does is held against it: the machine in this crate's own tests, the running server in the
//! tests of concurrent histories. It has no speed, no durability, and no opinion on when the server acts by itself: each
//! such step is a function of its own in [`internal`], which a driver calls when it likes. [`Server`] is one that does at
//! once what follows from a request, and the rest when its clock ticks.
//!
//! Time is a number that every rule is given. A promise whose deadline has passed is settled by whoever looks at it, so
//! what is stored of it, and what anybody sees of it, are the same.

mod driver;
mod external;
pub mod internal;
mod invariants;
mod random;
mod schedules;
mod state;
mod words;

pub use driver::Server;
pub use external::handle;
pub use invariants::{broken, broken_by};
pub use random::{Dice, Requests};
pub use state::State;
pub use words::{
    Action, Callbacks, Create, Message, Promise, PromiseState, Request, Response, Schedule, Settle, Tags, Task,
    TaskRef, TaskState, Value, is_deliverable,
};
