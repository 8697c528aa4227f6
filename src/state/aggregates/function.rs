//! An aggregate function over rows that are kept: as bytes, of which columns are made when it is
//! asked.
//!
//! What a group keeps of a row are its arguments, as one string of bytes ([`RowConverter`]),
//! whatever their types are. They compare as the arguments do, and are written as they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::generic::Generic;
use crate::error::Result;
use crate::limits::BATCH_ROWS;

/// The function, and how its arguments become bytes.
pub struct ValueFunction {
    pub(super) expr: Arc<AggregateFunctionExpr>,
    pub(super) inputs: Vec<DataType>,
    converter: RowConverter,
    generic: Generic,
}

impl ValueFunction {
    /// Whether arguments of these types can be kept as bytes.
    pub fn keeps(inputs: &[DataType]) -> bool {
        RowConverter::supports_fields(&sort_fields(inputs))
    }

    /// The function over arguments of these types.
    pub fn new(expr: Arc<AggregateFunctionExpr>, inputs: Vec<DataType>) -> Result<Arc<Self>> {
        // What DataFusion cannot run at all is refused here, not at the first row.
        let generic = Generic::new(Arc::clone(&expr), inputs.clone())?;
        let converter = RowConverter::new(sort_fields(&inputs))?;
        Ok(Arc::new(ValueFunction { expr, inputs, converter, generic }))
    }

    /// The arguments as bytes.
    pub fn rows(&self, args: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(args)?)
    }

    /// Argument columns of these rows.
    pub fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let typed = columns.into_iter().zip(&self.inputs);
        typed
            .map(|(c, wanted)| if c.data_type() == wanted { Ok(c) } else { Ok(cast(&c, wanted)?) })
            .collect()
    }

    /// A row of NULLs.
    pub fn null(&self) -> Result<Box<[u8]>> {
        let nulls: Vec<ArrayRef> = self.inputs.iter().map(|t| new_null_array(t, 1)).collect();
        Ok(self.rows(&nulls)?.row(0).data().into())
    }

    /// How often a value counts that is there so many times.
    pub fn times(&self, count: i64) -> i64 {
        if self.expr.is_distinct() { i64::from(count > 0) } else { count.max(0) }
    }

    /// The results over these rows, of which row `i` belongs to group `groups[i]`.
    pub fn over<'a>(
        &self,
        rows: impl Iterator<Item = &'a [u8]>,
        groups: &[u32],
        count: usize,
    ) -> Result<ArrayRef> {
        self.generic.over(&self.columns(rows)?, groups, count)
    }

    /// What `compute` gives for some slots at a time, of not too many rows together: the rows of
    /// one group may be all that memory holds.
    pub fn in_portions(
        &self,
        slots: &[u32],
        rows: impl Fn(u32) -> usize,
        compute: impl Fn(&[u32]) -> Result<ArrayRef>,
    ) -> Result<ArrayRef> {
        let (mut parts, mut rest) = (Vec::new(), slots);
        while !rest.is_empty() {
            let mut sum = 0;
            let mut fits = |slot: &u32| {
                sum += 1 + rows(*slot);
                sum <= BATCH_ROWS
            };
            let (some, others) =
                rest.split_at(rest.iter().take_while(|slot| fits(slot)).count().max(1));
            parts.push(compute(some)?);
            rest = others;
        }
        match parts.as_slice() {
            [] => Ok(new_empty_array(self.expr.field().data_type())),
            [one] => Ok(Arc::clone(one)),
            parts => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }
}

fn sort_fields(inputs: &[DataType]) -> Vec<SortField> {
    inputs.iter().map(|t| SortField::new(t.clone())).collect()
}
