//! Kernels whose state is one cell per slot, in one vector.
//!
//! A [`Fold`] says what a cell is and how a batch of rows goes into cells; [`Dense`] makes a
//! [`Kernel`] of it. Per batch there is one virtual call and one `match` over the argument's type;
//! per row there is neither.

use std::any::Any;

use arrow::array::ArrayRef;

use super::{AggregateInput, Kernel, Place, mismatch};
use crate::error::Result;

/// An aggregate over cells. Wherever slots are named, one may be named more than once.
pub trait Fold: Clone + Send + Sync + 'static {
    /// The state of one group; its default is the state of "no rows".
    type Cell: Clone + Default + Send + Sync + 'static;

    /// Columns of the written state.
    const COLUMNS: usize;

    /// Takes rows in: row `i` goes into `cells[groups[i]]`. Says by how many bytes
    /// [`heap`](Self::heap) has grown.
    fn update(&self, cells: &mut [Self::Cell], input: &AggregateInput<'_>) -> Result<usize>;

    /// Merges one state into another.
    fn merge(&self, into: &mut Self::Cell, other: &Self::Cell) -> Result<()>;

    /// Takes a state out of a total; only called if `invertible`.
    fn subtract(&self, from: &mut Self::Cell, other: &Self::Cell) -> Result<()>;

    /// States as columns.
    fn write(&self, cells: &[&Self::Cell]) -> Result<Vec<ArrayRef>>;

    /// Columns back to states.
    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>>;

    /// Results.
    fn finish(&self, cells: &[&Self::Cell]) -> Result<ArrayRef>;

    /// Whether `subtract` is exact.
    fn invertible(&self) -> bool;

    /// What a cell holds beside itself.
    fn heap(_: &Self::Cell) -> usize {
        0
    }
}

/// A [`Kernel`] over the cells of a [`Fold`].
pub struct Dense<F: Fold> {
    fold: F,
    cells: Vec<F::Cell>,
    /// What all cells hold beside themselves, counted as it changes.
    heap: usize,
}

impl<F: Fold> Dense<F> {
    /// A kernel without slots.
    pub fn new(fold: F) -> Self {
        Dense { fold, cells: Vec::new(), heap: 0 }
    }

    fn pick(&self, slots: &[u32]) -> Vec<&F::Cell> {
        slots.iter().map(|&s| &self.cells[s as usize]).collect()
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a Dense<F>> {
        other.as_any().downcast_ref::<Dense<F>>().ok_or_else(mismatch)
    }

    fn change(
        &mut self,
        slot: u32,
        how: impl FnOnce(&F, &mut F::Cell) -> Result<()>,
    ) -> Result<()> {
        let cell = &mut self.cells[slot as usize];
        let before = F::heap(cell);
        how(&self.fold, cell)?;
        self.heap = self.heap + F::heap(cell) - before;
        Ok(())
    }

    fn replace(&mut self, slot: u32, cell: F::Cell) {
        let old = &mut self.cells[slot as usize];
        self.heap = self.heap + F::heap(&cell) - F::heap(old);
        *old = cell;
    }
}

impl<F: Fold> Kernel for Dense<F> {
    fn resize(&mut self, slots: usize) {
        if self.cells.len() < slots {
            self.cells.resize(slots, F::Cell::default());
        }
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        self.heap += self.fold.update(&mut self.cells, input)?;
        Ok(())
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], _place: Place) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            self.change(to, |fold, cell| fold.merge(cell, &other.cells[from as usize]))?;
        }
        Ok(())
    }

    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            self.change(to, |fold, cell| fold.subtract(cell, &other.cells[from as usize]))?;
        }
        Ok(())
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.fold.write(&self.pick(slots))
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        for (state, &to) in self.fold.read(columns)?.into_iter().zip(to) {
            self.change(to, |fold, cell| fold.merge(cell, &state))?;
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.fold.finish(&self.pick(slots))
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        let cells: Vec<F::Cell> = slots.iter().map(|&s| self.cells[s as usize].clone()).collect();
        let heap = cells.iter().map(F::heap).sum();
        Ok(Box::new(Dense { fold: self.fold.clone(), cells, heap }))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (cell, &to) in other.cells.iter().zip(to) {
            self.replace(to, cell.clone());
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| self.replace(slot, F::Cell::default()));
    }

    fn clear_all(&mut self) {
        self.cells.fill(F::Cell::default());
        self.heap = 0;
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
        true
    }

    fn size(&self) -> usize {
        self.cells.capacity() * size_of::<F::Cell>() + self.heap
    }

    #[cfg(test)]
    fn walked(&self) -> usize {
        self.cells.iter().map(F::heap).sum::<usize>() + self.size() - self.heap
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
