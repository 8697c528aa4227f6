//! The integration tests: one binary, because linking one is slow enough.
//!
//! Every test talks to the real `tidemill` binary as a user would: over the Postgres protocol, with
//! psql, with signals and with the command line. `server` starts and ends it; each other module
//! asks one kind of question.

#[macro_use]
mod server;
mod architecture;
mod bombs;
mod cli;
mod crash;
mod damage;
mod drivers;
mod feeders;
mod functions;
mod judged;
mod lifecycle;
mod memory;
mod options;
mod oracle;
mod parameters;
mod psql;
mod raw;
mod readme;
mod shared_views;
mod simulation;
mod sinks;
mod slt;
mod sources;
mod views;
