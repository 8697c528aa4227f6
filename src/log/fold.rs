//! Which small blocks to join, by their sizes alone: as in a binary counter, in memory and in the
//! store alike.

use crate::limits;

/// How large a block is.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSize {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// How many blocks to join at the end of a log, whose sizes are given from the last one backwards:
/// so many that the one before is larger than all of them, or all would be more than a block. Fewer
/// than 2: none.
pub(super) fn fold(sizes: impl Iterator<Item = BlockSize>) -> usize {
    let (mut count, mut rows, mut bytes) = (0, 0, 0);
    for size in sizes {
        let is_larger = count > 0 && size.rows > rows.max(1);
        let fits =
            rows + size.rows <= limits::BATCH_ROWS && bytes + size.bytes <= limits::BLOCK_BYTES;
        if is_larger || !fits {
            break;
        }
        (count, rows, bytes) = (count + 1, rows + size.rows, bytes + size.bytes);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_copied_a_few_times_however_many_follow() {
        let (mut blocks, mut copied, mut written) = (Vec::<BlockSize>::new(), 0, 0);
        for _ in 0..2_000 {
            blocks.extend([BlockSize { rows: 1, bytes: 100 }; limits::JOINED_BLOCKS]);
            written += limits::JOINED_BLOCKS;
            let count = fold(blocks.iter().rev().copied());
            let parts = blocks.split_off(blocks.len() - count);
            let rows = parts.iter().map(|size| size.rows).sum();
            blocks.push(BlockSize { rows, bytes: rows * 100 });
            copied += rows;
        }
        assert!(copied < 5 * written, "{copied} copies of {written} rows");
        assert!(blocks.len() < 20, "{} blocks for {written} rows", blocks.len());
    }
}
