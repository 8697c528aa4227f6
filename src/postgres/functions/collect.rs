//! `array_agg` of a column of one of the system's own types is an array of that type.
//!
//! What an Arrow type does not tell (that this integer is an oid) stands in the field's metadata,
//! and the array that DataFusion's `array_agg` makes has an element without any. A client that is
//! told of a `bigint[]` where it asked for an `oid[]` takes it for something else: asyncpg asks
//! what type that is, with the very query that it is reading.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use crate::types::SqlType;

/// The aggregate.
pub(super) fn array_agg() -> AggregateUDF {
    AggregateUDF::new_from_impl(ArrayAgg { inner: array_agg_udaf().as_ref().clone() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayAgg {
    inner: AggregateUDF,
}

/// The type of the array's elements, where that is one that Arrow's type does not tell.
fn system_type(collected: &Field) -> Option<SqlType> {
    let sql_type = SqlType::from_field(collected);
    let is_told = matches!(
        sql_type,
        SqlType::Oid | SqlType::Name | SqlType::Char | SqlType::Json | SqlType::Jsonb
    );
    is_told.then_some(sql_type)
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        match arg_fields.first().and_then(|collected| system_type(collected)) {
            Some(element) => {
                Ok(Arc::new(SqlType::Array(Box::new(element)).to_field(self.name(), true)))
            }
            None => self.inner.return_field(arg_fields),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = self.inner.clone().with_beneficial_ordering(beneficial_ordering)?;
        Ok(ordered.map(|inner| Arc::new(ArrayAgg { inner }) as Arc<dyn AggregateUDFImpl>))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(array_agg()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let wanted = args.return_field.data_type().clone();
        let is_system =
            args.expr_fields.first().is_some_and(|collected| system_type(collected).is_some());
        let inner = self.inner.accumulator(args)?;
        Ok(if is_system { Box::new(TypedCollector { inner, wanted }) } else { inner })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        let is_system =
            args.expr_fields.first().is_some_and(|collected| system_type(collected).is_some());
        !is_system && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// The value in a row. What DataFusion takes out of an array of arrays has lost what its element's
/// field says.
pub(crate) fn scalar_at(array: &ArrayRef, row: usize) -> Result<ScalarValue> {
    match array.as_list_opt::<i32>() {
        Some(lists) => Ok(ScalarValue::List(Arc::new(lists.slice(row, 1)))),
        None => ScalarValue::try_from_array(array, row),
    }
}

/// One group, whose array is given the type of its elements.
#[derive(Debug)]
struct TypedCollector {
    inner: Box<dyn Accumulator>,
    wanted: DataType,
}

impl Accumulator for TypedCollector {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let array = self.inner.evaluate()?.to_array()?;
        scalar_at(&cast(&array, &self.wanted)?, 0)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}
