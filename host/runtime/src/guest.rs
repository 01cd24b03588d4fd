//! What the store of one guest holds: its end of the wire, its resources, and the guard over its memory.

use std::sync::Arc;

use machine::Stream;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Limits;
use super::fault;
use super::imports::http::Http;
use super::imports::stdio::Tap;
use super::wire::Wire;

/// Handles that a guest may hold beside those of its steps: to streams, timers, sets of what it waits for.
const OTHER_HANDLES: usize = 20_000;

/// The data of a guest's store.
pub(super) struct Guest {
    pub(super) wire: Arc<Wire>,
    pub(super) table: ResourceTable,
    /// Made when first needed: most guests never ask for what is in it.
    wasi: Option<Box<WasiCtx>>,
    pub(super) http: Option<Box<Http>>,
    memory: MemoryGuard,
}

/// Bounds the memory of a guest as a whole, however many memories it has.
struct MemoryGuard {
    wire: Arc<Wire>,
    limit_bytes: usize,
    used_bytes: usize,
    table_elements: usize,
}

/// Makes a store that yields when its slice is over.
pub(super) fn store(engine: &Engine, wire: &Arc<Wire>, limits: &Limits) -> Store<Guest> {
    let memory = MemoryGuard {
        wire: wire.clone(),
        limit_bytes: limits.memory_bytes,
        used_bytes: 0,
        table_elements: limits.table_elements,
    };
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.pending_steps.saturating_add(OTHER_HANDLES));
    let guest = Guest { wire: wire.clone(), table, wasi: None, http: None, memory };
    let mut store = Store::new(engine, guest);
    store.set_max_component_handles(limits.pending_steps.saturating_add(OTHER_HANDLES));
    store.limiter(|guest| &mut guest.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        let is_over = store.data().wire.lock().slice.is_over()?;
        Ok(if is_over { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
    });
    store
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wire = &self.wire;
        let ctx = self.wasi.get_or_insert_with(|| {
            // Without more, a context has no arguments, directories or network, and an empty input.
            // Its clocks and random numbers are real ones, but nothing is linked to them.
            let mut context = WasiCtx::builder();
            context.stdout(Tap::new(wire, Stream::Stdout)).stderr(Tap::new(wire, Stream::Stderr));
            // Nobody gets one; if somebody did, it would be of no use.
            context.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
            context.envs(wire.lock().environment.variables());
            Box::new(context.build())
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl ResourceLimiter for MemoryGuard {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used_bytes.saturating_add(desired.saturating_sub(current));
        if used > self.limit_bytes {
            self.wire.lock().refused_bytes = Some(used);
            return Ok(false);
        }
        self.used_bytes = used;
        self.wire.lock().memory_bytes = used;
        Ok(true)
    }

    /// Where the host has no more memory to give, the guest can't be blamed: its run ends, and counts for nothing.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if fault::is_shortage(&error) { Err(error) } else { Ok(()) }
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }
}
