//! The engine: runs pipelines in epochs, keeps views, answers what is there now.
//!
//! What there is stands at the bottom, what happens to it above; a file imports only files that
//! stand before it here.
//!
//! | file | idea |
//! |---|---|
//! | [`position`] | where a query stands in its source, and what it gets from there at a time |
//! | `codec` | how keys and values of queries are stored |
//! | [`failure`] | why a view does not run any more |
//! | [`late`], [`rejected`] | rows that could not be counted, kept to be looked at |
//! | [`map`] | a stateless stretch of a pipeline, run again and again |
//! | `operators`, `above` | which operators there are, and what takes their changes to the next or to the query's |
//! | `answering` | a plan that is answered anew for the keys that have changed |
//! | [`node_figures`] | what sources and operators have done |
//! | `running_step` | an operator, what its plan answers, and the fragment on top |
//! | `running_source` | a source's rows, those that are late among them |
//! | `explain` | a pipeline in words |
//! | [`runner`] | one pipeline: an epoch's input in, the change of the answer out |
//! | `progress` | how far a query has come |
//! | [`stored`] | what is stored of a query, epoch by epoch, and how it is read back |
//! | `folding` | what keeps that short, a little with every commit |
//! | `outbox`, [`sink`] | what a sink has still to publish, as it is stored; and how far it has come |
//! | [`view`] | a materialized view: its outside (`handle`) and, above the feeds, its inside (`run`) |
//! | [`feed`] | brings a pipeline its rows: from a log, a view, a connector |
//! | [`messages`] | what is said between the engine's threads |
//! | [`planning`] | the threads on which statements are read and planned |
//! | [`mod@env`] | what an engine stands on: clock, store, threads |
//! | `socket_states` | how the sockets stand that streams are fed from |
//! | [`registry`] | what there is, and the order of its locks; no behaviour |
//! | [`versions`] | the versions of everything that a statement reads |
//! | `contents` | where the rows of a relation are |
//! | [`tables`] | static tables, for the fragments that join them |
//! | [`snapshot`] | names, resolved against the versions that a statement reads |
//! | `sources` | connectors and feeds, opened |
//! | [`define`] | from a definition to its pipeline |
//! | `salvage` | what is stored, held against what is known of it, before anything runs |
//! | `commit_times` | how old what a view has not read is |
//! | `epoch_numbers` | the numbers of epochs, as they are stored |
//! | [`moments`] | what the time is to statements that write |
//! | `clock_watermarks` | watermarks that move on with the clock |
//! | `sync` | waiting for views, so that a session reads its own writes |
//! | [`continuous`] | a SELECT … EMIT for one client |
//! | `retention` | forgets old rows that nobody needs |
//! | `group` | views that need each other, computing one epoch |
//! | `committing` | what was computed, made durable and visible |
//! | `alone` | a view that catches up or trails, portion by portion |
//! | `agreement` | several views as of one commit, also if one of them trails |
//! | [`publishing`] | what goes out of sinks, beside the epochs |
//! | `back_pressure` | who writes faster than views can read waits |
//! | `lifecycle` | how a view starts, catches up, is paused, stalls, fails and goes |
//! | [`sharing`] | views that are the answer of one query, and how one of them parts from it |
//! | `epochs` | the loop that runs the epochs of all running views |
//! | `start` | open and stop: the only file that knows all others |

mod above;
#[cfg(test)]
mod aggregate_tests;
mod agreement;
mod alone;
mod answering;
mod back_pressure;
mod clock_watermarks;
mod codec;
mod commit_times;
mod committing;
mod contents;
#[cfg(test)]
mod contents_tests;
pub mod continuous;
#[cfg(test)]
mod continuous_tests;
pub mod define;
pub mod env;
mod epoch_numbers;
mod epochs;
pub mod explain;
pub mod failure;
pub mod feed;
mod folding;
#[cfg(test)]
mod folding_tests;
mod group;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod large_group_tests;
pub mod late;
mod lifecycle;
pub mod map;
pub mod messages;
pub mod moments;
pub mod node_figures;
mod operators;
mod outbox;
pub mod planning;
pub mod position;
mod progress;
pub mod publishing;
pub mod registry;
pub mod rejected;
mod retention;
pub mod runner;
mod running_source;
mod running_step;
mod salvage;
pub mod sharing;
pub mod sink;
pub mod snapshot;
mod socket_states;
mod sources;
mod start;
pub mod stored;
#[cfg(test)]
mod stored_form_tests;
mod sync;
#[cfg(test)]
mod table_tests;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod versions;
pub mod view;

pub use env::Env;
pub use registry::{Engine, EngineOptions};
pub use socket_states::SocketState;
