//! The whole truth about promises, executions and journals, as one pure transition:
//! [`apply`] takes the state and a [`Record`], changes the state, and says what follows from it.
//!
//! The crate owns the rules and the words. It has no clock (a record carries its own `now`), no disk, no network, no
//! randomness, and knows neither tokio, wasmtime nor redb. What runs guests, stores rows or answers clients lives in
//! `host` and drives this.

mod apply;
mod basis;
mod config;
mod egress;
mod execution;
mod foreign;
mod http;
mod id;
mod journal;
mod mail;
mod promise;
mod reach;
mod record;
mod request;
mod schedule;
mod session;
mod state;

pub use apply::{
    Applied, Effect, Granted, Rejection, Reply, Standing, apply, can_install, configured, is_configured_alike,
    is_needed, needed_for,
};
pub use basis::{Basis, Names};
pub use config::{Bounds, Config, Limit, Pinned, Scope, Variable};
pub use egress::{Egress, allowed};
pub use execution::{Answer, Component, Digest, Execution, FunctionInfo, Parameter, Ready, Task, TaskState};
pub use foreign::{
    BRANCH, Claim, DELAY, Data, EXTERNAL, Foreign, Form, Holder, ORIGIN, PARENT, SCHEDULE, SCOPE, TARGET, TIMER, Tags,
    TaskView, Untold, is_address, is_timer, target,
};
pub use http::{Hidden, HttpHead, Part};
pub use id::{Id, IdError, MAX_ID_BYTES, MAX_ROOT_BYTES, partition_of};
pub use journal::{Arguments, Brief, Divergence, Entry, Kind, Replay, Replayed};
pub use mail::{Mail, Message, PARTITIONS};
pub use promise::{Awaiter, Errand, Outcome, Owner, Payload, Promise, PromiseKind, State as PromiseState};
pub use reach::Reach;
pub use record::{Old, Op, Progress, Record, Rest};
pub use request::{Action, Call, NewPromise, NewSchedule, Refusal, Request, Settlement, TaskRef, Template};
pub use schedule::{NEVER, Schedule, next_occurrence};
pub use session::{Ask, CallOptions, Completion, Event, Level, Output, Stream};
pub use state::{Memory, Settings, State};
