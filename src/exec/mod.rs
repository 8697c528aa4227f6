//! The engine: runs pipelines in epochs, keeps views, answers what is there now.
//!
//! | file | idea |
//! |---|---|
//! | [`engine`] | everything that is there, and the versions of it at one moment |
//! | `epochs` | the loop that runs the epochs of all running views |
//! | `life` | how a view starts, catches up, is paused, stalls, fails and goes |
//! | `sync` | waiting for views, so that a session reads its own writes |
//! | [`runner`] | one pipeline: an epoch's input in, the change of the answer out |
//! | [`feed`] | brings a pipeline its rows, from a place that can be come back to |
//! | [`lateness`] | which rows are late, decided before anything else |
//! | [`view`] | a materialized view: rows for readers, changes for subscribers |
//! | [`stored`] | what is stored of a query, epoch by epoch |
//! | [`continuous`] | a SELECT … EMIT for one client |
//! | [`snapshot`] | what a statement sees |
//! | `retention` | forgets old rows that nobody needs |

#[cfg(test)]
mod aggregate_tests;
pub mod continuous;
pub mod define;
mod emitted;
pub mod engine;
mod epochs;
pub mod explain;
pub mod feed;
pub mod kept;
pub mod lateness;
mod life;
mod retention;
pub mod runner;
pub mod shared;
#[cfg(test)]
mod shared_tests;
pub mod snapshot;
pub mod source_feed;
pub mod stored;
mod sync;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod view;

pub use engine::{Engine, EngineOptions};
