//! Clocks that stand still while the guest runs, and waits on them that are durable.
//!
//! Both clocks show the time of the last answer, so reading them needs no journal. A wait is a sleep like any other: a
//! step. This is what makes `std::thread::sleep` and a timeout of `poll` durable.

use std::sync::Arc;

use machine::Ask;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{p2, p3};

use crate::fault::Stop;
use crate::guest::Guest;
use crate::wire::{Wait, Wire};

const NS_PER_MS: u64 = 1_000_000;

/// What the generated interfaces are implemented on.
struct Clocks;

/// A guest's view of its clocks.
struct View<'a> {
    wire: &'a Arc<Wire>,
    table: &'a mut ResourceTable,
}

impl HasData for Clocks {
    type Data<'a> = View<'a>;
}

/// Puts ours in the place of WASI's.
pub(super) fn replace(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    fn view(guest: &mut Guest) -> View<'_> {
        View { wire: &guest.wire, table: &mut guest.table }
    }
    p2::bindings::clocks::wall_clock::add_to_linker::<Guest, Clocks>(linker, view)?;
    p2::bindings::clocks::monotonic_clock::add_to_linker::<Guest, Clocks>(linker, view)?;
    p3::bindings::clocks::types::add_to_linker::<Guest, Clocks>(linker, view)?;
    p3::bindings::clocks::system_clock::add_to_linker::<Guest, Clocks>(linker, view)?;
    p3::bindings::clocks::monotonic_clock::add_to_linker::<Guest, Clocks>(linker, view)
}

impl View<'_> {
    /// Since the epoch: whole seconds, and nanoseconds.
    fn wall(&self) -> (u64, u32) {
        let now_ms = self.wire.lock().now_ms();
        (now_ms / 1000, (now_ms % 1000 * NS_PER_MS) as u32)
    }

    /// Since the execution started.
    fn monotonic_ns(&self) -> u64 {
        let ends = self.wire.lock();
        (ends.now_ms() - ends.started_ms()).saturating_mul(NS_PER_MS)
    }

    /// Waits until the monotonic clock shows at least this. None if it does already.
    fn wait_until(&self, monotonic_ns: u64) -> Result<Option<Wait>, Stop> {
        let ends = self.wire.lock();
        if ends.describing {
            return Err(Stop::Describing { import: "wasi:clocks/monotonic-clock" });
        }
        let until_ms = ends.started_ms().saturating_add(monotonic_ns.div_ceil(NS_PER_MS));
        if until_ms <= ends.now_ms() {
            return Ok(None);
        }
        drop(ends);
        self.wire.ask(Ask::Sleep { until_ms }).map(Some)
    }

    fn wait_for(&self, ns: u64) -> Result<Option<Wait>, Stop> {
        self.wait_until(self.monotonic_ns().saturating_add(ns))
    }

    fn pollable(&mut self, wait: Option<Wait>) -> wasmtime::Result<Resource<DynPollable>> {
        let nap = self.table.push(Nap(wait))?;
        subscribe(self.table, nap)
    }
}

/// A sleep as something to poll. A sleep that is not over when the guest drops it is forgotten.
struct Nap(Option<Wait>);

#[wasmtime_wasi::async_trait]
impl Pollable for Nap {
    async fn ready(&mut self) {
        if let Some(wait) = &mut self.0 {
            wait.await;
            self.0 = None;
        }
    }
}

impl p2::bindings::clocks::wall_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<p2::bindings::clocks::wall_clock::Datetime> {
        let (seconds, nanoseconds) = self.wall();
        Ok(p2::bindings::clocks::wall_clock::Datetime { seconds, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<p2::bindings::clocks::wall_clock::Datetime> {
        Ok(p2::bindings::clocks::wall_clock::Datetime { seconds: 0, nanoseconds: NS_PER_MS as u32 })
    }
}

impl p2::bindings::clocks::monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.monotonic_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(NS_PER_MS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let wait = self.wait_until(when)?;
        self.pollable(wait)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let wait = self.wait_for(duration)?;
        self.pollable(wait)
    }
}

impl p3::bindings::clocks::types::Host for View<'_> {}

impl p3::bindings::clocks::system_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<p3::bindings::clocks::system_clock::Instant> {
        let (seconds, nanoseconds) = self.wall();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Ok(p3::bindings::clocks::system_clock::Instant { seconds, nanoseconds })
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(NS_PER_MS)
    }
}

impl p3::bindings::clocks::monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.monotonic_ns())
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(NS_PER_MS)
    }
}

impl<T> p3::bindings::clocks::monotonic_clock::HostWithStore<T> for Clocks {
    async fn wait_until(accessor: &Accessor<T, Self>, when: u64) -> wasmtime::Result<()> {
        if let Some(wait) = accessor.with(|mut access| access.get().wait_until(when))? {
            wait.await;
        }
        Ok(())
    }

    async fn wait_for(accessor: &Accessor<T, Self>, duration: u64) -> wasmtime::Result<()> {
        if let Some(wait) = accessor.with(|mut access| access.get().wait_for(duration))? {
            wait.await;
        }
        Ok(())
    }
}
