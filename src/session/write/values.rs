//! VALUES straight into columns: literals are read as the target's type, without the planner.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{concat, interleave};
use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{self, Expr, UnaryOperator, Value};

use super::super::transaction::WriteContext;
use super::assign::assign;
use super::query::{self, Extra};
use super::rows::RowMaker;
use super::target::{self, Verb};
use crate::catalog::{Column, Relation};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{ColumnBuilder, TextStyle};
use crate::sql;
use crate::types::{SqlType, Zone};

/// How many expressions are planned together.
const CELLS: usize = 128;

/// One value of VALUES.
enum LiteralCell<'a> {
    /// A constant of unknown type: `'…'`.
    Text(&'a str),
    /// A number as written, with its sign.
    Number(String),
    Boolean(bool),
    Null,
    Default,
    /// `DATE '…'`, `'…'::uuid`.
    Typed(SqlType, String),
    Expr(&'a Expr),
}

/// Whether a value is the keyword DEFAULT.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => Some(text),
        Value::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

fn cell(expr: &Expr) -> LiteralCell<'_> {
    match expr {
        Expr::Nested(inner) => match cell(inner) {
            LiteralCell::Default => LiteralCell::Expr(expr),
            inner => inner,
        },
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => LiteralCell::Number(number.clone()),
            Value::Boolean(value) => LiteralCell::Boolean(*value),
            Value::Null => LiteralCell::Null,
            other => text_of(other).map_or(LiteralCell::Expr(expr), LiteralCell::Text),
        },
        Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr: inner } => {
            match cell(inner) {
                LiteralCell::Number(number) if !number.starts_with('-') => match op {
                    UnaryOperator::Minus => LiteralCell::Number(format!("-{number}")),
                    _ => LiteralCell::Number(number),
                },
                _ => LiteralCell::Expr(expr),
            }
        }
        Expr::TypedString(typed) => typed_cell(expr, &typed.data_type, &typed.value.value),
        Expr::Cast {
            kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
            expr: inner,
            data_type,
            format: None,
            ..
        } => match inner.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Null => match sql::sql_type(data_type) {
                    Ok(_) => LiteralCell::Null,
                    Err(_) => LiteralCell::Expr(expr),
                },
                Value::Number(number, _) => number_cell(expr, data_type, number.clone()),
                value => typed_cell(expr, data_type, value),
            },
            Expr::UnaryOp { .. } => match cell(inner) {
                LiteralCell::Number(number) => number_cell(expr, data_type, number),
                _ => LiteralCell::Expr(expr),
            },
            _ => LiteralCell::Expr(expr),
        },
        other if is_default(other) => LiteralCell::Default,
        other => LiteralCell::Expr(other),
    }
}

/// `CAST(5 AS bigint)`, which is what a bound parameter has become, if the cast is no more than
/// reading the number.
fn number_cell<'a>(expr: &'a Expr, data_type: &ast::DataType, number: String) -> LiteralCell<'a> {
    let is_whole = number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    match sql::sql_type(data_type) {
        Ok(t @ (SqlType::SmallInt | SqlType::Int | SqlType::BigInt)) if is_whole => {
            LiteralCell::Typed(t, number)
        }
        Ok(t @ (SqlType::Real | SqlType::Double | SqlType::Decimal(_))) => {
            LiteralCell::Typed(t, number)
        }
        _ => LiteralCell::Expr(expr),
    }
}

fn typed_cell<'a>(expr: &'a Expr, data_type: &ast::DataType, value: &Value) -> LiteralCell<'a> {
    match (sql::sql_type(data_type), text_of(value)) {
        // A cast cuts where an assignment refuses.
        (Ok(SqlType::Varchar(_) | SqlType::Bpchar(_)), _) => LiteralCell::Expr(expr),
        (Ok(sql_type), Some(text)) => LiteralCell::Typed(sql_type, text.to_owned()),
        _ => LiteralCell::Expr(expr),
    }
}

/// The columns that VALUES gives for these target columns; None for a column that is DEFAULT in
/// each row.
pub(super) async fn columns(
    cx: &WriteContext,
    maker: &RowMaker,
    relation: &Relation,
    targets: &[usize],
    rows: &[ast::Parens<Vec<Expr>>],
) -> Result<Vec<Option<ArrayRef>>> {
    let mut found = vec![None; relation.columns.len()];
    let width = rows.first().map_or(0, |row| row.content.len());
    if rows.iter().any(|row| row.content.len() != width) {
        return Err(Error::new(SqlState::Syntax, "VALUES lists must all be the same length"));
    }
    for (at, target) in targets.iter().enumerate().take(width) {
        let values = rows.iter().map(|row| &row.content[at]);
        found[*target] = column(cx, maker, relation, *target, values, rows.len()).await?;
    }
    Ok(found)
}

async fn column<'a>(
    cx: &WriteContext,
    maker: &RowMaker,
    relation: &Relation,
    target: usize,
    values: impl Iterator<Item = &'a Expr>,
    rows: usize,
) -> Result<Option<ArrayRef>> {
    let wanted = &relation.columns[target];
    let mut filler = Filler::new(&cx.style, wanted, rows);
    for (row, value) in values.enumerate() {
        let cell = cell(value);
        if wanted.generated.is_some() && !matches!(cell, LiteralCell::Default) {
            return Err(target::generated(relation, target, Verb::Insert));
        }
        filler.add(row, cell)?;
    }
    if filler.defaults.len() == rows {
        return Ok(None);
    }
    filler.finish(cx, maker, target).await.map(Some)
}

/// One column being filled: what is a literal is read at once, the rest is put in afterwards.
struct Filler<'a> {
    column: &'a Column,
    builder: ColumnBuilder,
    zone: Zone,
    /// Values that were read as another type first, and their rows.
    typed: Vec<(usize, ArrayRef)>,
    exprs: Vec<(usize, &'a Expr)>,
    defaults: Vec<usize>,
    style: TextStyle,
}

impl<'a> Filler<'a> {
    fn new(style: &TextStyle, column: &'a Column, rows: usize) -> Filler<'a> {
        let zone = Zone::of_setting(&style.time_zone).unwrap_or(Zone::Utc);
        Filler {
            column,
            builder: ColumnBuilder::new(&column.sql_type, rows).in_zone(zone),
            zone,
            typed: Vec::new(),
            exprs: Vec::new(),
            defaults: Vec::new(),
            style: style.clone(),
        }
    }

    fn add<'b: 'a>(&mut self, row: usize, cell: LiteralCell<'b>) -> Result<()> {
        match cell {
            LiteralCell::Text(text) => self.builder.append_text(text.as_bytes()),
            LiteralCell::Null => {
                self.builder.append_null();
                Ok(())
            }
            LiteralCell::Number(number) => self.number(row, &number),
            LiteralCell::Boolean(value) => {
                let text: &[u8] = if value { b"true" } else { b"false" };
                match self.column.sql_type {
                    SqlType::Boolean | SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_) => {
                        self.builder.append_text(text)
                    }
                    _ => Err(self.mismatch(&SqlType::Boolean)),
                }
            }
            LiteralCell::Typed(sql_type, text) if sql_type == self.column.sql_type => {
                self.builder.append_text(text.as_bytes())
            }
            LiteralCell::Typed(sql_type, text) => {
                let value = crate::pgtypes::values::parse_text_in(&sql_type, &text, &self.zone)?;
                let value = assign(&value, &sql_type.to_field("", true), self.column, &self.style)?;
                self.typed.push((row, value));
                self.builder.append_null();
                Ok(())
            }
            LiteralCell::Default => {
                self.defaults.push(row);
                self.builder.append_null();
                Ok(())
            }
            LiteralCell::Expr(expr) => {
                self.exprs.push((row, expr));
                self.builder.append_null();
                Ok(())
            }
        }
    }

    fn number(&mut self, row: usize, number: &str) -> Result<()> {
        let is_whole = number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        match &self.column.sql_type {
            SqlType::Real | SqlType::Double | SqlType::Decimal(_) => {
                self.builder.append_text(number.as_bytes())
            }
            SqlType::SmallInt | SqlType::Int | SqlType::BigInt if is_whole => {
                self.builder.append_text(number.as_bytes()).map_err(|error| match error.state() {
                    SqlState::OutOfRange => Error::new(
                        SqlState::OutOfRange,
                        format!("{} out of range", self.column.sql_type),
                    ),
                    _ => error,
                })
            }
            SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_) if is_whole => {
                self.builder.append_text(number.as_bytes())
            }
            SqlType::SmallInt
            | SqlType::Int
            | SqlType::BigInt
            | SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Bpchar(_) => {
                let wide = SqlType::Decimal(Some((38, scale_of(number))));
                let value = crate::pgtypes::values::parse_text(&wide, number)?;
                let value = assign(&value, &wide.to_field("", true), self.column, &self.style)?;
                self.typed.push((row, value));
                self.builder.append_null();
                Ok(())
            }
            _ => Err(self.mismatch(&if is_whole { SqlType::Int } else { SqlType::Decimal(None) })),
        }
    }

    fn mismatch(&self, from: &SqlType) -> Error {
        let Column { name, sql_type, .. } = self.column;
        let what =
            format!("column \"{name}\" is of type {sql_type} but expression is of type {from}");
        Error::new(SqlState::TypeMismatch, what)
            .hint("You will need to rewrite or cast the expression.")
    }

    async fn finish(self, cx: &WriteContext, maker: &RowMaker, target: usize) -> Result<ArrayRef> {
        let Filler { column, builder, mut typed, exprs, defaults, style, .. } = self;
        let base = builder.finish();
        for cells in exprs.chunks(CELLS) {
            typed.extend(evaluate(cx, cells, column, &style).await?);
        }
        if !defaults.is_empty() {
            let values = maker.default(target, defaults.len())?;
            typed.extend(defaults.iter().enumerate().map(|(at, row)| (*row, values.slice(at, 1))));
        }
        if typed.is_empty() {
            return Ok(base);
        }
        let patches: Vec<&dyn Array> = typed.iter().map(|(_, value)| value.as_ref()).collect();
        let patches = concat(&patches)?;
        let mut places: Vec<(usize, usize)> = (0..base.len()).map(|row| (0, row)).collect();
        for (at, (row, _)) in typed.iter().enumerate() {
            places[*row] = (1, at);
        }
        Ok(interleave(&[base.as_ref(), patches.as_ref()], &places)?)
    }
}

/// The value of a literal as an array of one; None for what is no literal.
pub(super) fn constant(
    style: &TextStyle,
    column: &Column,
    expr: &Expr,
) -> Result<Option<ArrayRef>> {
    let cell = cell(expr);
    if matches!(cell, LiteralCell::Expr(_) | LiteralCell::Default) {
        return Ok(None);
    }
    let mut filler = Filler::new(style, column, 1);
    filler.add(0, cell)?;
    match filler.typed.pop() {
        Some((_, value)) => Ok(Some(value)),
        None => Ok(Some(filler.builder.finish())),
    }
}

/// How many digits a number has behind its point, exponent counted.
fn scale_of(number: &str) -> i8 {
    let (digits, exponent) = match number.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().unwrap_or(0)),
        None => (number, 0),
    };
    let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len() as i64);
    (behind - exponent).clamp(0, 37) as i8
}

/// Expressions over nothing: `SELECT e1, e2, …`.
async fn evaluate(
    cx: &WriteContext,
    cells: &[(usize, &Expr)],
    column: &Column,
    style: &TextStyle,
) -> Result<Vec<(usize, ArrayRef)>> {
    let items = cells
        .iter()
        .enumerate()
        .map(|(at, (_, expr))| query::item(Expr::clone(expr), &format!("c{at}")));
    let select = query::select(items.collect(), Vec::new(), None)?;
    let (schema, batches) = query::run(cx, Extra::default(), select).await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() == 1) else {
        return Err(Error::new(SqlState::CardinalityViolation, "a value of VALUES is not one row"));
    };
    let mut values = Vec::with_capacity(cells.len());
    for (at, (row, _)) in cells.iter().enumerate() {
        let field: &Field = schema.field(at);
        values.push((*row, assign(&Arc::clone(batch.column(at)), field, column, style)?));
    }
    Ok(values)
}
