//! Aggregates over frames that move, as `bool_and(b) OVER (ROWS 2 PRECEDING)`: those that cannot take a
//! row out of what they hold are computed anew over the rows of each frame, which are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, WindowFunctionDefinition,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// Lets the aggregate of a window with a frame that moves do so; says whether it is one.
pub(crate) fn over_frame(call: &mut WindowFunction) -> bool {
    let moves = !call.params.window_frame.start_bound.is_unbounded();
    match &mut call.fun {
        WindowFunctionDefinition::AggregateUDF(inner) if moves && !inner.inner().is::<Moving>() => {
            let inner_function = inner.as_ref().clone();
            *inner = Arc::new(AggregateUDF::new_from_impl(Moving { inner: inner_function }));
            true
        }
        _ => false,
    }
}

/// An aggregate whose frame moves.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Moving {
    inner: AggregateUDF,
}

impl AggregateUDFImpl for Moving {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let rows = FrameRows {
            function: self.inner.clone(),
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            fields: args.expr_fields.to_vec(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_distinct: args.is_distinct,
            name: args.name.to_owned(),
            is_reversed: args.is_reversed,
            exprs: args.exprs.to_vec(),
            rows: VecDeque::new(),
        };
        let sliding = self.inner.create_sliding_accumulator(args)?;
        Ok(if sliding.supports_retract_batch() { sliding } else { Box::new(rows) })
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Identical => ReversedUDAF::Identical,
            ReversedUDAF::Reversed(_) | ReversedUDAF::NotSupported => ReversedUDAF::NotSupported,
        }
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// The rows of a frame, and what makes an accumulator for them.
#[derive(Debug)]
struct FrameRows {
    function: AggregateUDF,
    return_field: FieldRef,
    schema: Schema,
    fields: Vec<FieldRef>,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_distinct: bool,
    name: String,
    is_reversed: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The arguments, in batches, oldest first.
    rows: VecDeque<Vec<ArrayRef>>,
}

impl FrameRows {
    /// All rows as one batch.
    fn joined(&mut self) -> Result<Option<&Vec<ArrayRef>>> {
        if self.rows.len() > 1 {
            let width = self.rows.front().map_or(0, Vec::len);
            let whole = (0..width).map(|at| {
                let parts: Vec<_> = self.rows.iter().map(|batch| batch[at].as_ref()).collect();
                Ok(concat(&parts)?)
            });
            let whole = whole.collect::<Result<Vec<_>>>()?;
            self.rows = VecDeque::from([whole]);
        }
        Ok(self.rows.front())
    }
}

impl Accumulator for FrameRows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|first| !first.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut gone = values.first().map_or(0, |first| first.len());
        while let Some(batch) = self.rows.front_mut().filter(|_| gone > 0) {
            let there = batch[0].len();
            if there > gone {
                batch.iter_mut().for_each(|column| *column = column.slice(gone, there - gone));
                break;
            }
            self.rows.pop_front();
            gone -= there;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            expr_fields: &self.fields,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_distinct: self.is_distinct,
            name: &self.name,
            is_reversed: self.is_reversed,
            exprs: &self.exprs,
        })?;
        if let Some(rows) = self.joined()? {
            accumulator.update_batch(rows)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        let arrays = self.rows.iter().flatten();
        size_of_val(self) + arrays.map(|array| array.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(crate::error::Error::internal("the rows of a frame are no state").into())
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Err(crate::error::Error::internal("the rows of a frame are no state").into())
    }
}
