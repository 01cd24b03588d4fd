//! How wasmtime is set up, and the pulse by which time slices are measured.
//!
//! The settings are chosen for two things: the same guest must compute the same on every run, and starting and dropping
//! a session must be cheap.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::Limits;
use super::fault::Stop;

/// The time between two beats, while guests run.
const BEAT: Duration = Duration::from_millis(1);
/// How many beats end a slice.
const SLICE_BEATS: u64 = 2;
/// After so many beats in which no guest ran there are none until one does: an idle host sleeps.
const QUIET_BEATS: u32 = 100;
/// How often to look whether the engine is gone, while there are none.
const STILL: Duration = Duration::from_secs(1);
/// What host functions need of a stack, beside the guest's part.
const HOST_STACK_BYTES: usize = 1 << 20;
/// How much of a used memory is kept and cleared instead of being given back to the kernel, which costs more.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// Frames of a crash that are looked at; fewer are shown. Finding where each is takes up to a millisecond.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(32).expect("32 isn't zero");

/// The configuration that all components are compiled for. Artifacts of another configuration don't load.
/// The size of stacks is none of it.
pub(super) fn config(limits: &Limits, stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        // A NaN's bits and a relaxed operation's result are the processor's choice otherwise.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        .async_stack_size(stack_bytes + HOST_STACK_BYTES)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

/// A component made of one Rust crate is three core instances (itself and two that tie it to its imports), two tables
/// and one memory. There is room for components of several, at the price of fewer at a time.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    // Descriptions of components being uploaded come from the same pool.
    let sessions = limits.sessions.saturating_add(4);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(sessions)
        .total_core_instances(sessions.saturating_mul(4))
        .total_memories(sessions)
        .total_tables(sessions.saturating_mul(3))
        // One for the guest, and one for what wasmtime calls in the guest while that one is suspended.
        .total_stacks(sessions.saturating_mul(2))
        .max_core_instances_per_component(40)
        .max_memories_per_component(8)
        .max_tables_per_component(40)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .max_unused_warm_slots(sessions)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Counts beats while the engine lives and guests run.
#[derive(Default)]
pub(super) struct Pulse {
    beats: AtomicU64,
    /// Whether a guest has run since the last beat.
    is_wanted: AtomicBool,
    is_still: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Pulse {
    fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// A guest runs, and is to be told when its slice is over.
    fn want(&self) {
        // Most find that another guest was here since the last beat. That is a beat old at most: what runs on says so again
        // with each, so the pulse can't come to a standstill over it.
        if !self.is_wanted.load(Ordering::Relaxed) {
            self.is_wanted.store(true, Ordering::SeqCst);
            if self.is_still.load(Ordering::SeqCst)
                && let Some(thread) = self.thread.get()
            {
                thread.unpark();
            }
        }
    }

    /// Wait until a guest runs, if none has for long.
    fn rest(&self, quiet: &mut u32) {
        *quiet = if self.is_wanted.swap(false, Ordering::SeqCst) { 0 } else { *quiet + 1 };
        if *quiet < QUIET_BEATS {
            return;
        }
        self.is_still.store(true, Ordering::SeqCst);
        // Whoever wants it from here on sees that it is still, or was seen here.
        if !self.is_wanted.load(Ordering::SeqCst) {
            std::thread::park_timeout(STILL);
        }
        self.is_still.store(false, Ordering::SeqCst);
    }
}

/// Starts the one thread that advances the engine's epoch, at which running guests look at their slice. It ends with
/// the engine.
pub(super) fn start_pulse(engine: &Engine) -> std::io::Result<Arc<Pulse>> {
    let pulse = Arc::new(Pulse::default());
    let beating = pulse.clone();
    let engine = engine.weak();
    let thread = std::thread::Builder::new().name("guest-slices".into()).spawn(move || {
        let mut quiet = 0;
        while let Some(engine) = engine.upgrade() {
            beating.beats.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(BEAT);
            beating.rest(&mut quiet);
        }
    })?;
    pulse.thread.get_or_init(|| thread.thread().clone());
    Ok(pulse)
}

/// The time that one session has to itself.
pub(super) struct Slice {
    pulse: Arc<Pulse>,
    limit_ms: u64,
    /// Whether passing the limit stops the guest.
    pub(super) is_bounded: bool,
    began: u64,
    over: bool,
    /// Whether the last slice ended before the guest came to rest.
    continues: bool,
    /// The thread's processor time when this slice began, of those that continue another.
    mark: Duration,
    used: Duration,
}

impl Slice {
    pub(super) fn new(pulse: Arc<Pulse>, limit_ms: u64) -> Slice {
        let began = pulse.beats();
        Slice {
            pulse,
            limit_ms,
            is_bounded: true,
            began,
            over: false,
            continues: false,
            mark: Duration::ZERO,
            used: Duration::ZERO,
        }
    }

    /// A poll begins. Most end within a slice, so only what continues pays for reading the processor's time.
    pub(super) fn begin(&mut self) {
        self.pulse.want();
        self.began = self.pulse.beats();
        self.over = false;
        if self.continues {
            self.mark = thread_time();
        }
    }

    /// Whether the guest has had its slice, asked by a guest that runs or is about to go on. Then it must yield; or,
    /// if it has used all the time that it may between two rests, stop.
    pub(super) fn is_over(&mut self) -> Result<bool, Stop> {
        self.pulse.want();
        if self.over || self.pulse.beats() - self.began < SLICE_BEATS {
            return Ok(self.over);
        }
        self.over = true;
        // A first slice has no mark, and is not counted: it is a few milliseconds of seconds.
        if self.continues {
            self.used += thread_time().saturating_sub(self.mark);
        }
        self.continues = true;
        if self.is_bounded && self.used > Duration::from_millis(self.limit_ms) {
            Err(Stop::Cpu { limit_ms: self.limit_ms })
        } else {
            Ok(true)
        }
    }

    /// Whether the guest yielded because its slice was over.
    pub(super) fn was_over(&self) -> bool {
        self.over
    }

    /// The guest rests: it waits for something.
    pub(super) fn rest(&mut self) {
        self.continues = false;
        self.used = Duration::ZERO;
    }
}

/// The processor time of this thread. Unlike the time on the wall it doesn't count what others on a busy machine took.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, and the call writes nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
