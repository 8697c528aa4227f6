//! The command line: flags to options, errors to one clear line.

mod bench;
mod print;
mod run;
mod serve;
mod test;
mod value;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::server::Failure;

/// A SQL-first streaming query engine: one binary that speaks Postgres. Without a subcommand it
/// serves.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve Postgres clients until SIGTERM or Ctrl-C (the default).
    Serve(serve::ServeArgs),
    /// Run SQL scripts without a server, print what they answer, and exit.
    Run(run::RunArgs),
    /// Run SQL pages that say their answers, in process and with simulated time.
    Test(test::TestArgs),
    /// Measure Nexmark and other queries in process, over generated events or a file.
    Bench(bench::BenchArgs),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// Aligned columns, as psql prints them.
    Table,
    /// Comma-separated, with a line of names.
    Csv,
    /// A JSON object a line.
    Json,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse_from(with_subcommand(std::env::args_os())) {
        Ok(arguments) => arguments,
        // Help and version, too, are told this way; clap knows which stream and code.
        Err(told) => told.exit(),
    };
    let done = match arguments.command {
        CliCommand::Serve(args) => serve::serve(&args),
        CliCommand::Run(args) => run::run(&args),
        CliCommand::Test(args) => test::test(&args),
        CliCommand::Bench(args) => bench::bench(&args).map_err(Failure::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A script's line comes first, so that editors can jump there.
            let who = if failure.place.is_some() { "" } else { "tidemill: " };
            // Nothing is left to be done when not even this can be written.
            let _ = writeln!(std::io::stderr(), "{who}{failure}");
            ExitCode::FAILURE
        }
    }
}

/// `tidemill` and `tidemill --flag …` are `tidemill serve …`.
fn with_subcommand(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.collect();
    let is_serve = match all.get(1).and_then(|first| first.to_str()) {
        None => all.len() < 2,
        Some("-h" | "--help" | "-V" | "--version") => false,
        Some(first) => first.starts_with('-'),
    };
    if is_serve {
        all.insert(1.min(all.len()), "serve".into());
    }
    all
}

/// How many threads there are to compute with.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn with(arguments: &[&str]) -> Vec<String> {
        let arguments = ["tidemill"].iter().chain(arguments).map(OsString::from);
        with_subcommand(arguments).into_iter().skip(1).map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn the_flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_serves() {
        assert_eq!(with(&[]), ["serve"]);
        assert_eq!(with(&["--ephemeral"]), ["serve", "--ephemeral"]);
        assert_eq!(with(&["--help"]), ["--help"]);
        assert_eq!(with(&["run", "x"]), ["run", "x"]);
        assert_eq!(with(&["nonsense"]), ["nonsense"]);
    }
}
