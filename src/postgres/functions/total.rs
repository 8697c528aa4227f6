//! `sum` and `avg` as in Postgres: sums of integers do not wrap and are one size larger, averages of integers are
//! exact numerics.
//!
//! | of                | sum            | avg                    |
//! |-------------------|----------------|------------------------|
//! | smallint, integer | bigint         | numeric (16 places)    |
//! | bigint            | numeric        | numeric (16 places)    |
//! | numeric(p, s)     | numeric(38, s) | numeric(38, max(s,16)) |
//! | computed numeric  | the same       | as a quotient          |
//! | real              | real           | double precision       |
//! | double precision  | the same       | the same               |
//! | interval          | the same       | the same               |

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use datafusion::arrow::compute::sort;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, i256,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::decimal::MAX_SCALE;
use super::totals::{IntervalSum, Sum, Total, Wanted, each_state, overflow, states, stored};
use crate::error::{Error, SqlState};
use crate::types::WIDE_NUMERIC;

/// `sum`.
pub(crate) fn sum() -> SumOrAvg {
    SumOrAvg {
        wanted: Wanted::Sum,
        signature: Signature::user_defined(Volatility::Immutable),
        aliases: vec![],
    }
}

/// `avg`, also `mean`.
pub(crate) fn avg() -> SumOrAvg {
    let signature = Signature::user_defined(Volatility::Immutable);
    SumOrAvg { wanted: Wanted::Avg, signature, aliases: vec!["mean".into()] }
}

/// The function as DataFusion knows it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SumOrAvg {
    wanted: Wanted,
    signature: Signature,
    aliases: Vec<String>,
}

/// Runs `$body` with `$I` and `$S` bound to how a column of that type is read and added up.
macro_rules! dispatch {
    ($data_type:expr, $I:ident, $S:ident, $convert:ident => $body:expr) => {
        match $data_type {
            DataType::Int16 => {
                type $I = Int16Type;
                type $S = i128;
                let $convert = |v: i16| i128::from(v);
                $body
            }
            DataType::Int32 => {
                type $I = Int32Type;
                type $S = i128;
                let $convert = |v: i32| i128::from(v);
                $body
            }
            DataType::Int64 => {
                type $I = Int64Type;
                type $S = i128;
                let $convert = |v: i64| i128::from(v);
                $body
            }
            DataType::Decimal128(..) => {
                type $I = Decimal128Type;
                type $S = i128;
                let $convert = |v: i128| v;
                $body
            }
            DataType::Decimal256(..) => {
                type $I = Decimal256Type;
                type $S = i256;
                let $convert = |v: i256| v;
                $body
            }
            DataType::Float32 => {
                type $I = Float32Type;
                type $S = f64;
                let $convert = |v: f32| f64::from(v);
                $body
            }
            DataType::Float64 => {
                type $I = Float64Type;
                type $S = f64;
                let $convert = |v: f64| v;
                $body
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                type $I = IntervalMonthDayNanoType;
                type $S = IntervalSum;
                let $convert = <IntervalSum as Sum>::load;
                $body
            }
            other => Err(Error::internal(format!("a sum of {other}")).into()),
        }
    };
}

impl SumOrAvg {
    fn shape(&self, args: &AccumulatorArgs<'_>) -> Shape {
        let input = args.expr_fields[0].data_type();
        Shape {
            wanted: self.wanted,
            input: input.clone(),
            out: args.return_field.data_type().clone(),
            stored: stored(input),
        }
    }

    fn accumulator_of(&self, args: &AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let shape = self.shape(args);
        let input = args.expr_fields[0].data_type();
        if args.is_distinct {
            let inner = self.single(input, shape)?;
            return Ok(Box::new(Distinct { seen: HashMap::new(), input: input.clone(), inner }));
        }
        self.single(input, shape)
    }

    fn single(&self, input: &DataType, shape: Shape) -> Result<Box<dyn Accumulator>> {
        dispatch!(input, I, S, convert => Ok(Box::new(Single::<I, S, _> {
            total: Total::<S>::default(),
            shape,
            convert,
            input: PhantomData,
        })))
    }
}

impl AggregateUDFImpl for SumOrAvg {
    fn name(&self) -> &str {
        match self.wanted {
            Wanted::Sum => "sum",
            Wanted::Avg => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let undefined = |what: String| {
            Error::new(
                SqlState::UndefinedFunction,
                format!("function {}({what}) does not exist", self.name()),
            )
            .hint("It takes one number or interval; a cast may help.")
        };
        let [argument] = arg_types else {
            return Err(undefined(format!("{} arguments", arg_types.len())).into());
        };
        let argument = if let DataType::Dictionary(_, value) = argument { value } else { argument };
        let coerced = match argument {
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => DataType::Int16,
            DataType::UInt16 | DataType::Int32 => DataType::Int32,
            DataType::UInt32 | DataType::Int64 | DataType::Null => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Float16 | DataType::Float32 => DataType::Float32,
            DataType::Float64 => DataType::Float64,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                DataType::Decimal128(*p, *s)
            }
            DataType::Decimal256(p, s) => DataType::Decimal256(*p, *s),
            DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            other => return Err(undefined(other.to_string().to_lowercase()).into()),
        };
        Ok(vec![coerced])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match (self.wanted, &arg_types[0]) {
            (Wanted::Sum, DataType::Int16 | DataType::Int32) => DataType::Int64,
            (Wanted::Sum, DataType::Float32) => DataType::Float32,
            (Wanted::Avg, DataType::Decimal128(_, scale)) => DataType::Decimal128(38, (*scale).max(16)),
            (Wanted::Avg, DataType::Decimal256(..)) => DataType::Decimal256(WIDE_NUMERIC, MAX_SCALE),
            (Wanted::Avg, DataType::Int16 | DataType::Int32 | DataType::Int64) => {
                DataType::Decimal128(38, 16)
            }
            (_, other) => stored(other),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.accumulator_of(&args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.accumulator_of(&args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let input = args.input_fields[0].data_type();
        let name = |part| format_state_name(args.name, part);
        if args.is_distinct {
            let item = Field::new_list_field(input.clone(), true);
            return Ok(vec![Arc::new(Field::new_list(name("values"), item, true))]);
        }
        let sum = Arc::new(Field::new(name("sum"), stored(input), true));
        Ok(match self.wanted {
            Wanted::Sum => vec![sum],
            Wanted::Avg => vec![sum, Arc::new(Field::new(name("count"), DataType::Int64, true))],
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let shape = self.shape(&args);
        dispatch!(args.expr_fields[0].data_type(), I, S, convert => Ok(Box::new(Grouped::<I, S, _> {
            totals: Vec::<Total<S>>::new(),
            shape,
            convert,
            input: PhantomData,
        })))
    }
}

/// What an accumulator must know beside the types of its numbers.
#[derive(Debug, Clone)]
struct Shape {
    wanted: Wanted,
    input: DataType,
    out: DataType,
    stored: DataType,
}

impl Shape {
    fn add<S: Sum>(&self, to: &mut Total<S>, more: Total<S>) -> Result<(), Error> {
        to.sum = to.sum.plus(more.sum).ok_or_else(|| overflow(&self.out))?;
        to.count += more.count;
        Ok(())
    }
}

fn values<I: ArrowPrimitiveType>(values: &[ArrayRef]) -> Result<&PrimitiveArray<I>, Error> {
    let first = values.first().and_then(|array| array.as_any().downcast_ref());
    first.ok_or_else(|| Error::internal("a sum was given a column of another type"))
}

/// Many groups at once.
struct Grouped<I, S, F> {
    totals: Vec<Total<S>>,
    shape: Shape,
    convert: F,
    input: PhantomData<I>,
}

impl<I, S, F> GroupsAccumulator for Grouped<I, S, F>
where
    I: ArrowPrimitiveType + Send,
    S: Sum,
    F: Fn(I::Native) -> S + Send + 'static,
{
    fn update_batch(
        &mut self,
        arrays: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.totals.resize(total_groups, Total::default());
        let array = values::<I>(arrays)?;
        let mut full = false;
        let mut add = |group: usize, value: I::Native| {
            let total = &mut self.totals[group];
            match total.sum.plus((self.convert)(value)) {
                Some(sum) => total.sum = sum,
                None => full = true,
            }
            total.count += 1;
        };
        match (array.nulls().filter(|nulls| nulls.null_count() > 0), filter) {
            (None, None) => {
                for (group, value) in groups.iter().zip(array.values()) {
                    add(*group, *value);
                }
            }
            (nulls, filter) => {
                for (row, (group, value)) in groups.iter().zip(array.values()).enumerate() {
                    let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
                    if passes && nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                        add(*group, *value);
                    }
                }
            }
        }
        if full { Err(overflow(&self.shape.out).into()) } else { Ok(()) }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        Ok(S::results(&totals, self.shape.wanted, &self.shape.input, &self.shape.out)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emit_to.take_needed(&mut self.totals);
        Ok(states(&totals, self.shape.wanted, &self.shape.stored)?)
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.totals.resize(total_groups, Total::default());
        let (totals, shape) = (&mut self.totals, &self.shape);
        Ok(each_state(arrays, shape.wanted, |row, more| shape.add(&mut totals[groups[row]], more))?)
    }

    fn convert_to_state(&self, arrays: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let array = values::<I>(arrays)?;
        let totals = array.iter().enumerate().map(|(row, value)| match value {
            Some(value) if filter.is_none_or(|f| f.is_valid(row) && f.value(row)) => {
                Total { sum: (self.convert)(value), count: 1 }
            }
            _ => Total::default(),
        });
        let totals: Vec<_> = totals.collect();
        Ok(states(&totals, self.shape.wanted, &self.shape.stored)?)
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<Total<S>>()
    }
}

/// One group, from which values can also be taken away again.
struct Single<I, S, F> {
    total: Total<S>,
    shape: Shape,
    convert: F,
    input: PhantomData<fn(I)>,
}

impl<I, S: Sum, F> std::fmt::Debug for Single<I, S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Single").field("total", &self.total).field("shape", &self.shape).finish()
    }
}

impl<I, S, F> Accumulator for Single<I, S, F>
where
    I: ArrowPrimitiveType,
    S: Sum,
    F: Fn(I::Native) -> S + Send + Sync + 'static,
{
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let mut total = self.total;
        let mut add = |value: I::Native| {
            let sum = total.sum.plus((self.convert)(value)).ok_or_else(|| overflow(&self.shape.out))?;
            total = Total { sum, count: total.count + 1 };
            Ok::<(), Error>(())
        };
        let array = values::<I>(arrays)?;
        match array.null_count() {
            0 => array.values().iter().try_for_each(|value| add(*value))?,
            _ => array.iter().flatten().try_for_each(add)?,
        }
        self.total = total;
        Ok(())
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        for value in values::<I>(arrays)?.iter().flatten() {
            let sum = self.total.sum.minus((self.convert)(value)).ok_or_else(|| overflow(&self.shape.out))?;
            self.total = Total { sum, count: self.total.count - 1 };
        }
        if self.total.count == 0 {
            // What floats leave behind when all is taken away is not zero.
            self.total = Total::default();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = S::results(&[self.total], self.shape.wanted, &self.shape.input, &self.shape.out)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = states(&[self.total], self.shape.wanted, &self.shape.stored)?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let (total, shape) = (&mut self.total, &self.shape);
        Ok(each_state(arrays, shape.wanted, |_, more| shape.add(total, more))?)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// One group that counts each value once: the values, and how often each one is there.
#[derive(Debug)]
struct Distinct {
    seen: HashMap<ScalarValue, i64>,
    input: DataType,
    /// Empty, for adding up at the end.
    inner: Box<dyn Accumulator>,
}

impl Distinct {
    /// In order: a sum of floats must not depend on the order of a hash table.
    fn values(&self) -> Result<ArrayRef> {
        if self.seen.is_empty() {
            Ok(datafusion::arrow::array::new_empty_array(&self.input))
        } else {
            Ok(sort(&ScalarValue::iter_to_array(self.seen.keys().cloned())?, None)?)
        }
    }

    fn change(&mut self, array: &ArrayRef, by: i64) -> Result<()> {
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            let value = ScalarValue::try_from_array(array, row)?;
            let times = self.seen.entry(value).or_insert(0);
            *times += by;
            if *times <= 0 {
                let value = ScalarValue::try_from_array(array, row)?;
                self.seen.remove(&value);
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.change(&arrays[0], 1)
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.change(&arrays[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = [self.values()?];
        self.inner.update_batch(&values)?;
        let result = self.inner.evaluate();
        self.inner.retract_batch(&values)?;
        result
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.values()?;
        let values = (0..values.len()).map(|row| ScalarValue::try_from_array(&values, row));
        let values = values.collect::<Result<Vec<_>>>()?;
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.input))])
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let lists = arrays[0].as_any().downcast_ref::<datafusion::arrow::array::ListArray>();
        let lists = lists.ok_or_else(|| Error::internal("a state of a distinct sum that is none"))?;
        for list in lists.iter().flatten() {
            self.change(&list, 1)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * (size_of::<ScalarValue>() + 16)
    }
}
