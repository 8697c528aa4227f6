//! Looking inside: SHOW and DESCRIBE, EXPLAIN, and the schema `tidemill`.
//!
//! | file | idea |
//! |---|---|
//! | `show` | SHOW …, SHOW CREATE, DESCRIBE |
//! | `explain` | EXPLAIN |
//! | `watermarks` | EXPLAIN WATERMARK |
//! | `bounds` | the bounds of `limits.rs`, in words |
//! | `memory` | `tidemill.memory` |
//! | `tidemill` | what runs, as tables: `tidemill.queries` and the others |

mod bounds;
pub(crate) mod explain;
mod memory;
pub(crate) mod show;
mod sinks;
pub(crate) mod tidemill;
mod watermarks;
