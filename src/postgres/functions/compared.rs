//! What compares elements of arrays: `ANY` and `ALL`, `&&`, `@>`, `<` of arrays, `array_position`;
//! `greatest` and `least`.
//!
//! Values are compared as the bytes of arrow's row format, in which NULL is equal to NULL and behind
//! everything else, as in arrays of Postgres; who means it otherwise looks for NULLs first.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum, Int32Builder, ListBuilder, Scalar,
};
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{SortOptions, cast, interleave, is_null, or_kleene, prep_null_mask_filter};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;

use super::flat::{Flat, depth_of, integer, range};
use super::matching::Matching;
use super::polymorphic::{ArrayCall, ArrayFunction};
use super::recent::Recent;
use super::scalar::strings;
use super::text::at;
use crate::error::{Error, Result, SqlState};
use crate::types::normalised;

/// The functions. Operators are their first argument.
pub(super) static ALL: [ArrayFunction; 9] = [
    ArrayFunction { name: "compare_any", forms: &["TEA:B"], call: |call| quantified(call, true) },
    ArrayFunction { name: "compare_all", forms: &["TEA:B"], call: |call| quantified(call, false) },
    ArrayFunction { name: "compare_arrays", forms: &["TAA:B"], call: arrays },
    ArrayFunction { name: "array_has_any", forms: &["AA:B"], call: |call| sets(call, false) },
    ArrayFunction { name: "array_has_all", forms: &["AA:B"], call: |call| sets(call, true) },
    ArrayFunction { name: "array_position", forms: &["AE:I", "AEI:I"], call: position },
    ArrayFunction { name: "array_positions", forms: &["AE:J"], call: positions },
    ArrayFunction {
        name: "greatest",
        forms: &["E*:E", "A*:A"],
        call: |call| first_of(call, Ordering::Greater),
    },
    ArrayFunction {
        name: "least",
        forms: &["E*:E", "A*:A"],
        call: |call| first_of(call, Ordering::Less),
    },
];

/// Columns of one type whose values can be compared.
pub(super) struct ElementKeys {
    rows: Vec<Rows>,
    columns: Vec<ArrayRef>,
}

impl ElementKeys {
    pub(super) fn new(columns: &[&ArrayRef]) -> Result<ElementKeys> {
        let of = columns[0].data_type();
        let same = |column: &&ArrayRef| {
            if column.data_type() == of {
                Ok(normalised(column))
            } else {
                Ok(normalised(&cast(column, of)?))
            }
        };
        let columns = columns.iter().map(same).collect::<Result<Vec<ArrayRef>>>()?;
        let options = SortOptions { descending: false, nulls_first: false };
        let field = SortField::new_with_options(columns[0].data_type().clone(), options);
        let converter = RowConverter::new(vec![field])?;
        let rows = columns
            .iter()
            .map(|column| Ok(converter.convert_columns(std::slice::from_ref(column))?))
            .collect::<Result<Vec<_>>>()?;
        Ok(ElementKeys { rows, columns })
    }

    /// Whether the values at these places of these columns are equal, or both NULL.
    pub(super) fn are_equal(&self, a: (usize, usize), b: (usize, usize)) -> bool {
        self.rows[a.0].row(a.1) == self.rows[b.0].row(b.1)
    }

    fn is_null(&self, (column, row): (usize, usize)) -> bool {
        self.columns[column].is_null(row)
    }

    pub(super) fn compare(&self, a: (usize, usize), b: (usize, usize)) -> Ordering {
        self.rows[a.0].row(a.1).cmp(&self.rows[b.0].row(b.1))
    }
}

/// An operator between a value and an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// By the order of the two: whether it holds for less, equal, greater.
    Order([bool; 3]),
    Pattern(Matching),
}

impl Comparison {
    fn named(op: &str) -> Result<Comparison> {
        Ok(Comparison::Order(match op {
            "<" => [true, false, false],
            "<=" => [true, true, false],
            "=" => [false, true, false],
            ">=" => [false, true, true],
            ">" => [false, false, true],
            "<>" => [true, false, true],
            other => {
                return Matching::named(other).map(Comparison::Pattern).ok_or_else(|| {
                    Error::unsupported(format!(
                        "ANY and ALL with the operator {other} are not supported"
                    ))
                    .hint("Take the array apart with unnest().")
                });
            }
        }))
    }
}

fn holds(order: [bool; 3], is: Ordering) -> bool {
    order[match is {
        Ordering::Less => 0,
        Ordering::Equal => 1,
        Ordering::Greater => 2,
    }]
}

fn few() -> Error {
    Error::internal("a comparison of arrays without its arguments")
}

fn named(op: &ArrayRef) -> Result<Comparison> {
    Comparison::named(strings(op)?.value(0))
}

/// `x op ANY (array)` and `x op ALL (array)`, with three answers.
fn quantified(call: &ArrayCall, is_any: bool) -> Result<ArrayRef> {
    let [op, left, array] = &call.columns[..] else { return Err(few()) };
    let comparison = named(op)?;
    let flat = Flat::new(array);
    let texts = match comparison {
        Comparison::Pattern(_) => Some((strings(left)?, strings(&flat.values)?)),
        Comparison::Order(_) => None,
    };
    let keys = ElementKeys::new(&[left, &flat.values])?;
    let mut compiled = Recent::default();
    let mut answer = |row: usize| -> Result<Option<bool>> {
        let Some(elements) = flat.range(row) else { return Ok(None) };
        let one = at(left, row);
        if elements.is_empty() {
            return Ok(Some(!is_any));
        }
        if keys.is_null((0, one)) {
            return Ok(None);
        }
        let mut has_null = false;
        for element in elements {
            if keys.is_null((1, element)) {
                has_null = true;
                continue;
            }
            let holds = match (comparison, &texts) {
                (Comparison::Order(order), _) => holds(order, keys.compare((0, one), (1, element))),
                (Comparison::Pattern(matching), Some((texts, patterns))) => {
                    let pattern = patterns.value(element);
                    let compiled = compiled.of(pattern, |pattern| matching.compiled(pattern))?;
                    matching.holds(texts.value(one), compiled)?
                }
                (Comparison::Pattern(_), None) => false,
            };
            if holds == is_any {
                return Ok(Some(is_any));
            }
        }
        Ok(if has_null { None } else { Some(!is_any) })
    };
    let answers = (0..call.rows).map(&mut answer).collect::<Result<BooleanArray>>()?;
    Ok(Arc::new(answers))
}

/// `a < b` of arrays: element by element, and the shorter one first.
fn arrays(call: &ArrayCall) -> Result<ArrayRef> {
    let [op, left, right] = &call.columns[..] else { return Err(few()) };
    let Comparison::Order(order) = named(op)? else { return Err(few()) };
    let (l, r) = (Flat::new(left), Flat::new(right));
    let keys = ElementKeys::new(&[&l.values, &r.values])?;
    let depths = depth_of(left.data_type()).cmp(&depth_of(right.data_type()));
    let answer = |row: usize| {
        let (one, other) = (l.range(row)?, r.range(row)?);
        let both_empty = one.is_empty() && other.is_empty();
        let lengths = one.len().cmp(&other.len());
        let pairs = one.zip(other).map(|(a, b)| keys.compare((0, a), (1, b)));
        let first = pairs.into_iter().find(|order| order.is_ne()).unwrap_or(lengths);
        Some(holds(order, if both_empty { first } else { first.then(depths) }))
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// `a && b`, and `a @> b`: a NULL is in no array.
fn sets(call: &ArrayCall, wants_all: bool) -> Result<ArrayRef> {
    let [left, right] = &call.columns[..] else { return Err(few()) };
    let (l, r) = (Flat::new(left), Flat::new(right));
    let keys = ElementKeys::new(&[&l.values, &r.values])?;
    let answer = |row: usize| {
        let (one, other) = (l.range(row)?, r.range(row)?);
        let known: HashSet<_> = one
            .filter(|at| !keys.is_null((0, *at)))
            .map(|at| keys.rows[0].row(at).data())
            .collect();
        let is_in =
            |at: usize| !keys.is_null((1, at)) && known.contains(keys.rows[1].row(at).data());
        Some(if wants_all { other.clone().all(is_in) } else { other.clone().any(is_in) })
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// Of the values of each row that are not NULL, that which compares so with all others.
fn first_of(call: &ArrayCall, wanted: Ordering) -> Result<ArrayRef> {
    if let Some(found) = first_of_plain(call, wanted)? {
        return Ok(found);
    }
    let keys = ElementKeys::new(&call.columns.iter().collect::<Vec<_>>())?;
    let best = |row: usize| {
        let places = call.columns.iter().enumerate().map(|(n, column)| (n, at(column, row)));
        let valid = places.filter(|place| !keys.is_null(*place));
        let better = |best, next| if keys.compare(next, best) == wanted { next } else { best };
        valid.reduce(better).unwrap_or((0, at(&call.columns[0], row)))
    };
    let columns: Vec<&dyn Array> = call.columns.iter().map(AsRef::as_ref).collect();
    Ok(interleave(&columns, &(0..call.rows).map(best).collect::<Vec<_>>())?)
}

/// The same of values that arrow orders as Postgres does, a column at a time; `None`: they are others.
fn first_of_plain(call: &ArrayCall, wanted: Ordering) -> Result<Option<ArrayRef>> {
    let Some((first, others)) = call.columns.split_first() else { return Ok(None) };
    let of = first.data_type();
    let is_plain = !of.is_nested() && !of.is_null() && !matches!(of, DataType::Interval(_));
    if !is_plain || others.iter().any(|other| other.data_type() != of) {
        return Ok(None);
    }
    let mut best = if first.len() == call.rows {
        Arc::clone(first)
    } else {
        ScalarValue::try_from_array(first, 0)?.to_array_of_size(call.rows)?
    };
    for next in others {
        let is_constant = next.len() != call.rows;
        let datum = |column: &ArrayRef| -> Box<dyn Datum> {
            if is_constant {
                Box::new(Scalar::new(Arc::clone(column)))
            } else {
                Box::new(Arc::clone(column))
            }
        };
        let (key, held) = (datum(&normalised(next)), normalised(&best));
        let is_better =
            if wanted == Ordering::Greater { gt(&*key, &held)? } else { lt(&*key, &held)? };
        // What is not NULL is better than NULL.
        let is_better = match best.null_count() {
            0 => is_better,
            _ => or_kleene(&is_better, &is_null(&best)?)?,
        };
        let is_better = match is_better.null_count() {
            0 => is_better,
            _ => prep_null_mask_filter(&is_better),
        };
        best = zip(&is_better, &*datum(next), &best)?;
    }
    Ok(Some(best))
}

fn check_flat(array: &ArrayRef) -> Result<()> {
    if depth_of(array.data_type()) <= 1 {
        return Ok(());
    }
    let what = "searching for elements in multidimensional arrays is not supported";
    Err(Error::new(SqlState::NotSupported, what))
}

fn position(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, element, start @ ..] = &call.columns[..] else { return Err(few()) };
    check_flat(array)?;
    let list = array.as_list::<i32>();
    let keys = ElementKeys::new(&[list.values(), element])?;
    let mut out = Int32Builder::new();
    for row in 0..call.rows {
        let begin = match start.first().map(|start| integer(start, row)) {
            None => 1,
            Some(Some(begin)) => begin.max(1),
            Some(None) => {
                return Err(Error::new(
                    SqlState::NullNotAllowed,
                    "initial position must not be null",
                ));
            }
        };
        let found = range(list, row).and_then(|range| {
            let one = (1, at(element, row));
            let skipped = usize::try_from(begin - 1).unwrap_or(usize::MAX);
            range.enumerate().skip(skipped).find(|(_, at)| keys.are_equal((0, *at), one))
        });
        out.append_option(found.map(|(nth, _)| nth as i32 + 1));
    }
    Ok(Arc::new(out.finish()))
}

fn positions(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, element] = &call.columns[..] else { return Err(few()) };
    check_flat(array)?;
    let list = array.as_list::<i32>();
    let keys = ElementKeys::new(&[list.values(), element])?;
    let mut out = ListBuilder::new(Int32Builder::new());
    for row in 0..call.rows {
        let Some(range) = range(list, row) else {
            out.append_null();
            continue;
        };
        let one = (1, at(element, row));
        for (nth, _) in range.enumerate().filter(|(_, at)| keys.are_equal((0, *at), one)) {
            out.values().append_value(nth as i32 + 1);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
