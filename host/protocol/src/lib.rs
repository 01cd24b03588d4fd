//! The promise protocol of Resonate's libraries, so that their programs work with this host as they are.
//!
//! - `values`: how payloads are written there
//! - `records`: how promises, tasks and schedules are shown
//! - `requests`: what can be asked, read straight into what the machine takes
//! - `answers`: what is answered, and the one place where a reason becomes a status
//! - `post`: delivering messages to workers and clients: to whoever holds a connection open (`poll`), or to a URL (`push`)
//! - `snapshot`: everything at once, for tools that hold it against a model
//!
//! Nothing here decides anything about promises: that is the machine's. HTTP itself is in `api`.

mod answers;
mod poll;
mod post;
mod push;
mod records;
mod requests;
mod snapshot;
mod values;

pub use answers::{Answer, Facts, Failure, List, To};
pub use poll::Letter;
pub use post::{Line, Post, Sender};
pub use records::{state, task_state};
pub use requests::{Calls, Debug, Envelope, Inner, Kind, Look, Parsed, Salvaged, Search, Subject, Time};
pub use snapshot::answer as snapshot;

/// The version of the protocol that is spoken here.
const VERSION: &str = "2026-04-01";
/// Those that are understood.
const VERSIONS: [&str; 1] = [VERSION];
