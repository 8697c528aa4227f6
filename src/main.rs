//! The program: an allocator and the command line.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tidemill::memory::allocated::Counting;

/// Many threads allocate and free batches of all sizes; mimalloc keeps them out of each other's
/// way.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

fn main() -> ExitCode {
    tidemill::cli::main()
}
