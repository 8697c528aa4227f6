//! How a result comes from the values of a group, and what is kept ready for that while they come
//! and go.
//!
//! | reading | functions | after a change | an answer |
//! |---|---|---|---|
//! | [`Once`](ValueReading::Once) | count, sum, avg, stddev … (DISTINCT) | a value that is new, or gone, goes into a sum, or out | is there |
//! | [`Place`](ValueReading::Place) | median, percentile_cont | the place in the middle moves by one | the value there |
//! | `Least`, `Greatest` | min, max | | the first value, the last |
//! | `Computed` | all others | | from all values |

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;

use super::function::ValueFunction;
use super::{AggregateInput, Kernel, dense, mismatch};
use crate::error::Result;
use crate::state::multiset::Multiset;
use crate::state::rank::Rank;

/// How a group's result comes from its values.
pub enum ValueReading {
    /// The first of them.
    Least,
    /// The last of them.
    Greatest,
    /// A total of the different ones.
    Once(DistinctTotal),
    /// The ones around a place in their order.
    Place(PlaceReading),
    /// The aggregate over all values.
    Computed,
}

impl ValueReading {
    /// The least costly way for this function.
    pub fn of(function: &ValueFunction) -> ValueReading {
        let (expr, inputs) = (&function.expr, function.inputs.as_slice());
        let (name, result) = (expr.fun().name(), expr.field());
        match (name, inputs) {
            ("min", [input]) if input == result.data_type() && has_row_order(input) => {
                ValueReading::Least
            }
            ("max", [input]) if input == result.data_type() && has_row_order(input) => {
                ValueReading::Greatest
            }
            (_, [_]) if expr.is_distinct() => {
                match dense(name, inputs, result.data_type(), false) {
                    Some(total) if total.invertible() => {
                        ValueReading::Once(DistinctTotal::over(total))
                    }
                    _ => Self::in_order(function),
                }
            }
            _ => Self::in_order(function),
        }
    }

    fn in_order(function: &ValueFunction) -> ValueReading {
        match (WantedPlace::of(&function.expr), function.inputs.first()) {
            (Some(wanted), Some(input))
                if input.is_numeric() && input == function.expr.field().data_type() =>
            {
                ValueReading::Place(PlaceReading { wanted, ranks: Vec::new(), touched: Vec::new() })
            }
            _ => ValueReading::Computed,
        }
    }

    /// The same without slots.
    pub fn empty(&self) -> ValueReading {
        match self {
            ValueReading::Least => ValueReading::Least,
            ValueReading::Greatest => ValueReading::Greatest,
            ValueReading::Once(once) => ValueReading::Once(DistinctTotal::over(once.total.empty())),
            ValueReading::Place(place) => ValueReading::Place(place.with(Vec::new())),
            ValueReading::Computed => ValueReading::Computed,
        }
    }

    /// The same for these slots.
    pub fn copy(&self, slots: &[u32]) -> Result<ValueReading> {
        Ok(match self {
            ValueReading::Once(once) => {
                ValueReading::Once(DistinctTotal::over(once.total.copy(slots)?))
            }
            ValueReading::Place(place) => {
                let ranks = slots.iter().map(|&slot| place.ranks[slot as usize].clone());
                ValueReading::Place(place.with(ranks.collect()))
            }
            ValueReading::Least | ValueReading::Greatest | ValueReading::Computed => self.empty(),
        })
    }

    /// Makes room.
    pub fn resize(&mut self, slots: usize) {
        match self {
            ValueReading::Once(once) => once.total.resize(slots),
            ValueReading::Place(place) if place.ranks.len() < slots => {
                place.ranks.resize(slots, Rank::default());
            }
            _ => {}
        }
    }

    /// All values of a slot are gone.
    pub fn clear(&mut self, slot: u32) {
        match self {
            ValueReading::Once(once) => once.total.clear(&[slot]),
            ValueReading::Place(place) => place.ranks[slot as usize] = Rank::default(),
            ValueReading::Least | ValueReading::Greatest | ValueReading::Computed => {}
        }
    }

    /// A value was there `before` times, and is now `after` times.
    pub fn note(
        &mut self,
        function: &ValueFunction,
        slot: u32,
        value: &[u8],
        before: i64,
        after: i64,
    ) {
        match self {
            ValueReading::Once(once) => once.note(slot, value, before, after),
            ValueReading::Place(place) if !is_null(value) => {
                let more = function.times(after) - function.times(before);
                if more != 0 {
                    place.ranks[slot as usize].shift(value, more);
                    place.touched.push(slot);
                }
            }
            _ => {}
        }
    }

    /// To be called after [`note`](Self::note), before the next evaluation.
    pub fn settle(&mut self, function: &ValueFunction, sets: &[Multiset]) -> Result<()> {
        match self {
            ValueReading::Once(once) => once.settle(function),
            ValueReading::Place(place) => {
                place.settle(function, sets);
                Ok(())
            }
            ValueReading::Least | ValueReading::Greatest | ValueReading::Computed => Ok(()),
        }
    }

    /// The results of these slots.
    pub fn evaluate(
        &self,
        function: &ValueFunction,
        slots: &[u32],
        sets: &[Multiset],
    ) -> Result<ArrayRef> {
        match self {
            ValueReading::Once(once) => once.total.evaluate(slots),
            ValueReading::Place(place) => {
                function.in_portions(slots, |_| 2, |slots| place.evaluate(function, slots, sets))
            }
            ValueReading::Least | ValueReading::Greatest => self.ends(function, slots, sets),
            ValueReading::Computed => {
                let rows = |slot: u32| sets[slot as usize].len();
                function.in_portions(slots, rows, |slots| from_all_values(function, slots, sets))
            }
        }
    }

    fn ends(&self, function: &ValueFunction, slots: &[u32], sets: &[Multiset]) -> Result<ArrayRef> {
        let null = function.null()?;
        let end = |slot: u32| {
            let mut values =
                sets[slot as usize].iter().map(|(value, _)| value).filter(|v| **v != *null);
            if matches!(self, ValueReading::Least) { values.next() } else { values.next_back() }
        };
        let rows = slots.iter().map(|&slot| end(slot).unwrap_or(&null));
        function.columns(rows)?.into_iter().next().ok_or_else(mismatch)
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        match self {
            ValueReading::Once(once) => once.total.size(),
            ValueReading::Place(place) => place.ranks.capacity() * size_of::<Rank>(),
            ValueReading::Least | ValueReading::Greatest | ValueReading::Computed => 0,
        }
    }
}

/// Whether the order of a type's row bytes is its order in SQL.
fn has_row_order(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Interval(_))
}

/// Whether the first argument is NULL, which medians do not see: NULL comes first in the order of
/// rows.
fn is_null(value: &[u8]) -> bool {
    value.first() == Some(&0)
}

/// The aggregate over all values of the groups, in order.
fn from_all_values(function: &ValueFunction, slots: &[u32], sets: &[Multiset]) -> Result<ArrayRef> {
    let (mut rows, mut groups) = (Vec::new(), Vec::new());
    for (group, &slot) in slots.iter().enumerate() {
        for (value, count) in sets[slot as usize].iter() {
            rows.extend(std::iter::repeat_n(value, function.times(count) as usize));
            groups.resize(rows.len(), group as u32);
        }
    }
    function.over(rows.into_iter(), &groups, slots.len())
}

/// An aggregate that can take values out again, over the values that are there, each once.
pub struct DistinctTotal {
    total: Box<dyn Kernel>,
    /// Values that have come to be there (1) or are gone (−1) and not in the total yet.
    slots: Vec<u32>,
    values: Vec<Box<[u8]>>,
    weights: Vec<i64>,
}

impl DistinctTotal {
    fn over(total: Box<dyn Kernel>) -> Self {
        DistinctTotal { total, slots: Vec::new(), values: Vec::new(), weights: Vec::new() }
    }

    fn note(&mut self, slot: u32, value: &[u8], before: i64, after: i64) {
        if (before > 0) != (after > 0) {
            self.slots.push(slot);
            self.values.push(value.into());
            self.weights.push(if after > 0 { 1 } else { -1 });
        }
    }

    fn settle(&mut self, function: &ValueFunction) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let args = function.columns(self.values.iter().map(AsRef::as_ref))?;
        let weights = self.weights.contains(&-1).then_some(self.weights.as_slice());
        self.total.update(&AggregateInput {
            args: &args,
            groups: &self.slots,
            filter: None,
            weights,
        })?;
        self.slots.clear();
        self.values.clear();
        self.weights.clear();
        Ok(())
    }
}

/// Which place in the order of values is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WantedPlace {
    /// The middle, or both values beside it.
    Middle,
    /// So far from the first to the last, where 1 is the last.
    Fraction(f64),
}

impl WantedPlace {
    fn of(expr: &AggregateFunctionExpr) -> Option<WantedPlace> {
        match expr.fun().name() {
            "median" => Some(WantedPlace::Middle),
            "percentile_cont" => {
                let argument = expr.expressions().into_iter().nth(1)?;
                let ScalarValue::Float64(Some(fraction)) =
                    argument.downcast_ref::<Literal>()?.value()
                else {
                    return None;
                };
                let descending =
                    expr.order_bys().first().is_some_and(|sort| sort.options.descending);
                Some(WantedPlace::Fraction(if descending { 1.0 - fraction } else { *fraction }))
            }
            _ => None,
        }
    }

    /// The places among so many values, counted from 0, between which the answer lies, and how far
    /// between.
    fn among(self, total: i64) -> (i64, i64, f64) {
        match self {
            WantedPlace::Middle => ((total - 1).max(0) / 2, total / 2, 0.5),
            WantedPlace::Fraction(fraction) => {
                let index = fraction * (total - 1).max(0) as f64;
                (index.floor() as i64, index.ceil() as i64, index - index.floor())
            }
        }
    }
}

/// In how many steps percentile_cont goes from one value to the next: DataFusion's number, so that
/// a view says what a snapshot says.
const STEPS_BETWEEN: f64 = 1_000_000.0;

/// Medians and percentiles.
pub struct PlaceReading {
    wanted: WantedPlace,
    ranks: Vec<Rank>,
    /// Slots whose rank is not at its place.
    touched: Vec<u32>,
}

impl PlaceReading {
    fn with(&self, ranks: Vec<Rank>) -> PlaceReading {
        PlaceReading { wanted: self.wanted, ranks, touched: Vec::new() }
    }

    fn settle(&mut self, function: &ValueFunction, sets: &[Multiset]) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for slot in touched {
            let rank = &mut self.ranks[slot as usize];
            let (place, ..) = self.wanted.among(rank.total());
            rank.seek(place, &sets[slot as usize], times(function));
        }
    }

    fn value<'a>(
        &self,
        function: &ValueFunction,
        slot: u32,
        place: i64,
        sets: &'a [Multiset],
    ) -> Result<&'a [u8]> {
        let found = self.ranks[slot as usize].find(place, &sets[slot as usize], times(function));
        Ok(found.ok_or_else(mismatch)?.0)
    }

    fn evaluate(
        &self,
        function: &ValueFunction,
        slots: &[u32],
        sets: &[Multiset],
    ) -> Result<ArrayRef> {
        let mut found = Vec::with_capacity(slots.len());
        for (group, &slot) in slots.iter().enumerate() {
            let total = self.ranks[slot as usize].total();
            if total == 0 {
                continue;
            }
            let (low, high, weight) = self.wanted.among(total);
            let lower = self.value(function, slot, low, sets)?;
            let upper =
                if low == high { None } else { Some(self.value(function, slot, high, sets)?) };
            found.push(Neighbours { group: group as u32, lower, upper, weight });
        }
        match self.wanted {
            WantedPlace::Middle => middles(function, &found, slots.len()),
            WantedPlace::Fraction(_) => fractions(function, &found, slots.len()),
        }
    }
}

/// The values around the wanted place of a group.
struct Neighbours<'a> {
    group: u32,
    lower: &'a [u8],
    /// `None`: the place is that of `lower`.
    upper: Option<&'a [u8]>,
    weight: f64,
}

/// The median of the one or two values in the middle is that of all.
fn middles(function: &ValueFunction, found: &[Neighbours<'_>], groups: usize) -> Result<ArrayRef> {
    let rows = found.iter().flat_map(|around| [Some(around.lower), around.upper]).flatten();
    let owners: Vec<u32> = found
        .iter()
        .flat_map(|around| {
            std::iter::repeat_n(around.group, 1 + usize::from(around.upper.is_some()))
        })
        .collect();
    function.over(rows, &owners, groups)
}

fn fractions(
    function: &ValueFunction,
    found: &[Neighbours<'_>],
    groups: usize,
) -> Result<ArrayRef> {
    let doubles = |rows: &mut dyn Iterator<Item = &'_ [u8]>| -> Result<Float64Array> {
        let column = function.columns(rows)?.into_iter().next().ok_or_else(mismatch)?;
        Ok(cast(&column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
    };
    let lower = doubles(&mut found.iter().map(|around| around.lower))?;
    let upper = doubles(&mut found.iter().map(|around| around.upper.unwrap_or(around.lower)))?;
    let mut results = vec![None; groups];
    for (around, (&low, &high)) in found.iter().zip(lower.values().iter().zip(upper.values())) {
        let is_between = around.upper.is_some();
        results[around.group as usize] =
            Some(if is_between { between(low, high, around.weight) } else { low });
    }
    Ok(cast(&Float64Array::from(results), function.expr.field().data_type())?)
}

/// See [`STEPS_BETWEEN`].
fn between(low: f64, high: f64, weight: f64) -> f64 {
    let weight = (weight * STEPS_BETWEEN).floor() / STEPS_BETWEEN;
    low + (high - low) * weight
}

fn times(function: &ValueFunction) -> impl Fn(&[u8], i64) -> i64 {
    |value, count| if is_null(value) { 0 } else { function.times(count) }
}
