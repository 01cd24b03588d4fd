//! The `host` binary. All of it is in the crates below, where it can be tested.

use std::process::ExitCode;

/// A request is some hundred small allocations, many of which are freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    host_cli::main()
}
