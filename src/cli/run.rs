//! `tidemill run`: scripts without a server.
//!
//! The engine lives in memory for as long as the scripts take. Its input is what is there: a
//! continuous query ends when it has read it, so a script always comes to its end (unless it reads
//! a source that has none). What it makes sinks for goes there before the end.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::print::Printer;
use super::{OutputFormat, serve, value};
use crate::limits;
use crate::server::{Core, CoreOptions, Data, Failure, Script};

/// The flags of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scripts, run one after the other; file sources reach below the directory this is started in.
    #[arg(value_name = "FILE.sql", required = true)]
    files: Vec<PathBuf>,
    /// How results are printed.
    #[arg(long, env = "TIDEMILL_FORMAT", default_value = "table")]
    format: OutputFormat,
    /// How many threads compute [default: one a core].
    #[arg(long, value_name = "N", env = "TIDEMILL_THREADS", value_parser = value::count)]
    threads: Option<usize>,
    /// How much memory queries may use.
    #[arg(long, value_name = "SIZE", env = "TIDEMILL_MEMORY_LIMIT", default_value = "4GiB", value_parser = value::bytes)]
    memory_limit: usize,
}

/// Runs the scripts, up to the first error.
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    // All of them are read before one is run: a wrong name must not leave half of the work done.
    let scripts =
        args.files.iter().map(|path| Script::read(path)).collect::<Result<Vec<_>, _>>()?;
    let core = Core::open(&CoreOptions {
        data: Data::Memory,
        files: serve::files_root(None)?,
        memory: args.memory_limit,
        threads: args.threads.unwrap_or_else(super::cores),
        bounded: true,
        accept_loss: false,
        store_files: limits::STORE_FILES,
    })?;
    let done = scripts
        .into_iter()
        .try_for_each(|script| core.run(script, Box::new(Printer::new(args.format))))
        .and_then(|()| core.finish());
    core.stop(Duration::from_secs(1));
    done
}
