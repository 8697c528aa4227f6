//! Kernels whose state is one fixed-size cell per slot, in one vector.
//!
//! A [`Fold`] says what a cell is and how a batch of rows goes into cells; [`Dense`] makes a [`Kernel`] of it. Per
//! batch there is one virtual call and one `match` over the argument's type; per row there is neither.

use std::any::Any;

use datafusion::arrow::array::{ArrayRef, BooleanArray};

use super::{Kernel, Place, mismatch};
use crate::error::Result;

/// An aggregate over fixed-size cells.
pub trait Fold: Clone + Send + 'static {
    /// The state of one group; its default is the state of "no rows".
    type Cell: Copy + Default + Send + 'static;

    /// Columns of the written state.
    const COLUMNS: usize;

    /// Takes rows in: row `i` goes into `cells[groups[i]]`.
    fn update(
        &self,
        cells: &mut [Self::Cell],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
    ) -> Result<()>;

    /// The same with a weight per row; refused if there is no inverse.
    fn weigh(
        &self,
        cells: &mut [Self::Cell],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        weights: &[i64],
    ) -> Result<()>;

    /// Merges one state into another.
    fn merge(&self, into: &mut Self::Cell, other: Self::Cell) -> Result<()>;

    /// Takes a state out of a total; only called if `invertible`.
    fn subtract(&self, from: &mut Self::Cell, other: Self::Cell) -> Result<()>;

    /// States as columns.
    fn write(&self, cells: impl ExactSizeIterator<Item = Self::Cell> + Clone) -> Result<Vec<ArrayRef>>;

    /// Columns back to states.
    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>>;

    /// Results.
    fn finish(&self, cells: impl ExactSizeIterator<Item = Self::Cell> + Clone) -> Result<ArrayRef>;

    /// Whether `subtract` is exact.
    fn invertible(&self) -> bool;

    /// Whether the order of merging never shows.
    fn exact(&self) -> bool;
}

/// A [`Kernel`] over the cells of a [`Fold`].
pub struct Dense<F: Fold> {
    fold: F,
    cells: Vec<F::Cell>,
}

impl<F: Fold> Dense<F> {
    /// A kernel without slots.
    pub fn new(fold: F) -> Self {
        Dense { fold, cells: Vec::new() }
    }

    fn pick<'a>(&'a self, slots: &'a [u32]) -> impl ExactSizeIterator<Item = F::Cell> + Clone + 'a {
        slots.iter().map(|&s| self.cells[s as usize])
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a Dense<F>> {
        other.as_any().downcast_ref::<Dense<F>>().ok_or_else(mismatch)
    }
}

impl<F: Fold> Kernel for Dense<F>
where
    F: Sync,
    F::Cell: Sync,
{
    fn resize(&mut self, slots: usize) {
        if self.cells.len() < slots {
            self.cells.resize(slots, F::Cell::default());
        }
    }

    fn update(&mut self, args: &[ArrayRef], groups: &[u32], filter: Option<&BooleanArray>) -> Result<()> {
        self.fold.update(&mut self.cells, args, groups, filter)
    }

    fn weigh(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        weights: &[i64],
    ) -> Result<()> {
        self.fold.weigh(&mut self.cells, args, groups, filter, weights)
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], _place: Place) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            self.fold.merge(&mut self.cells[to as usize], other.cells[from as usize])?;
        }
        Ok(())
    }

    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            self.fold.subtract(&mut self.cells[to as usize], other.cells[from as usize])?;
        }
        Ok(())
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.fold.write(self.pick(slots))
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        for (cell, &to) in self.fold.read(columns)?.into_iter().zip(to) {
            self.fold.merge(&mut self.cells[to as usize], cell)?;
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.fold.finish(self.pick(slots))
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        Ok(Box::new(Dense { fold: self.fold.clone(), cells: self.pick(slots).collect() }))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (&cell, &to) in other.cells.iter().zip(to) {
            self.cells[to as usize] = cell;
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            self.cells[slot as usize] = F::Cell::default();
        }
    }

    fn clear_all(&mut self) {
        self.cells.fill(F::Cell::default());
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(Dense::new(self.fold.clone()))
    }

    fn state_columns(&self) -> usize {
        F::COLUMNS
    }

    fn invertible(&self) -> bool {
        self.fold.invertible()
    }

    fn exact(&self) -> bool {
        self.fold.exact()
    }

    fn size(&self) -> usize {
        self.cells.capacity() * std::mem::size_of::<F::Cell>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
