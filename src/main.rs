//! The program: an allocator and the command line.

use std::process::ExitCode;

/// Many threads allocate and free batches of all sizes; mimalloc keeps them out of each other's
/// way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidemill::cli::main()
}
