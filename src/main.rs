//! The `autofunnel` binary: everything is in the library.

use std::process::ExitCode;

/// A turn makes and drops many small values: with the system's allocator a quarter of the engine's time went
/// into it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    autofunnel::cli::main()
}
