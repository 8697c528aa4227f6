//! State: interned keys, grouped aggregate states, slices and their totals, and the rows of views
//! and tables.
//!
//! Pure and synchronous. A [`Delta`] is a change; [`Interner`] turns key columns into dense
//! numbers; a [`Kernel`] holds one aggregate's states by such numbers; [`Table`] puts both together
//! for one window or one running aggregate; [`Hops`] shares slices between overlapping windows;
//! [`RowStore`] holds the contents of views and tables, an [`Arrangement`] rows by key, and a
//! [`Ranking`] the order of a key's rows. [`StateTable`] is how all of it is stored and restored.

pub mod aggregates;
mod arrangement;
mod delta;
mod difference;
pub mod exact;
mod fixed_point;
#[cfg(test)]
pub mod fixture;
mod keys;
mod multiset;
mod portions;
mod rank;
mod ranking;

pub use arrangement::Arrangement;

pub use aggregates::{AggregateCall, Kernel, Place};
pub use delta::Delta;
pub use difference::change;
pub use keys::{Interner, distinct_keys};
pub use portions::next_piece;
pub use ranking::{Moved, Numbering, Ranked, Ranking, Tally, Wanted};
mod hop;
mod table;

pub use hop::{Hops, Which};
pub use table::{Before, Marks, Shape, Table, Trigger, partial};
mod rows;

mod state_table;

pub use rows::{Applied, Chunk, Location, NumberedRows, RowStore, Snapshot};
pub use state_table::{
    PieceCursor, StateTable, in_parts, of_another_form, part_ranges, piece_rows,
};
