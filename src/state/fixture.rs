//! What tests of state, and of what keeps some, have in common.

use arrow::record_batch::RecordBatch;

use super::StateTable;

/// Pseudo-random numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below this one, of at the most 31 bits.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A table that has had nothing, with what has been written of another, in that order.
pub fn restored<T: StateTable>(mut table: T, written: impl IntoIterator<Item = RecordBatch>) -> T {
    written.into_iter().for_each(|rows| table.restore_rows(&rows).unwrap());
    table.restored().unwrap();
    table
}
