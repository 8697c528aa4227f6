//! Pieces of a table of groups: a range of slots, or a portion of one slot whose state is too large
//! for a piece.
//!
//! Where an aggregate keeps the values of a group, the group may be as large as the whole table.
//! Then its row is written several times, each time with other values of it: for a table that is
//! restored this is the same as values that have come one after the other.

use arrow::array::ArrayRef;

use super::aggregates::Kernel;
use super::state_table::{PieceCursor, Portion};
use crate::error::Result;
use crate::limits::STATE_PIECE_BYTES;

/// The slots of the next piece, of at most `rows` of those that are `used`, and their states; no
/// slots: there are no more.
pub fn next_piece(
    kernels: &[Box<dyn Kernel>],
    cursor: &mut PieceCursor,
    rows: usize,
    bound: usize,
    used: impl Fn(u32) -> bool,
) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
    if cursor.within.is_empty() {
        let from = cursor.clone();
        let slots = cursor.slots(rows, bound, &used);
        let fitting = fitting(kernels, &slots);
        if let Some(&first) = slots.get(fitting) {
            *cursor = PieceCursor { next: first.into(), ..from };
        }
        if fitting > 0 || slots.is_empty() {
            return whole(kernels, &slots[..fitting]);
        }
        cursor.within = vec![Portion::Beginning; kernels.len()];
    }
    let slot = cursor.next as u32;
    if !used(slot) {
        // Its group has gone since.
        *cursor = PieceCursor { span: cursor.span, next: cursor.next + 1, within: Vec::new() };
        return next_piece(kernels, cursor, rows, bound, used);
    }
    let mut columns = Vec::new();
    for (kernel, portion) in kernels.iter().zip(&mut cursor.within) {
        columns.extend(kernel.portion(slot, portion, STATE_PIECE_BYTES)?);
    }
    if cursor.within.iter().all(|portion| *portion == Portion::End) {
        *cursor = PieceCursor { span: cursor.span, next: cursor.next + 1, within: Vec::new() };
    }
    Ok((vec![slot], columns))
}

/// How many of these slots, the first ones, are not too much for a piece.
fn fitting(kernels: &[Box<dyn Kernel>], slots: &[u32]) -> usize {
    let mut bytes = 0;
    let mut fits = |slot: &u32| {
        bytes += kernels.iter().map(|kernel| kernel.slot_bytes(*slot)).sum::<usize>();
        bytes <= STATE_PIECE_BYTES
    };
    slots.iter().take_while(|slot| fits(slot)).count()
}

fn whole(kernels: &[Box<dyn Kernel>], slots: &[u32]) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
    let mut columns = Vec::new();
    for kernel in kernels {
        columns.extend(kernel.states(slots)?);
    }
    Ok((slots.to_vec(), columns))
}
