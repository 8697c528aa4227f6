//! INSERT … VALUES of nothing but constants and parameters: written without planning anything.
//!
//! What does not depend on the values of the parameters is done once: names are looked up,
//! constants are read as their columns' types, DEFAULTs and generated columns are compiled. A
//! statement then only puts arrays in place. Whatever is not as simple, or is wrong, is left to the
//! general way, which also says what is wrong.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use datafusion::sql::sqlparser::ast::{self, CastKind, Expr};

use super::super::transaction::SessionTransaction;
use super::assign::{assign, check};
use super::describe::{has_parameter, parameter};
use super::insert::{self, add, plain_values};
use super::rows::{RowMaker, RowRules};
use super::values;
use crate::catalog::{Column, Names, Relation};
use crate::error::Result;
use crate::exec::Engine;
use crate::limits;
use crate::pgtypes::values::TextStyle;
use crate::sql;
use crate::types::SqlType;

/// An INSERT whose VALUES are constants and parameters, ready for the parameters' values.
pub struct PlainInsert {
    rules: Arc<RowRules>,
    style: TextStyle,
    /// The parameters' types.
    params: Vec<SqlType>,
    rows: usize,
    /// For each column of the relation its values, row by row; None: it is DEFAULT in all of them.
    columns: Vec<Option<Vec<PlainValue>>>,
    /// Whether a row needs anything that is computed.
    pub computes: bool,
}

/// One value of VALUES.
enum PlainValue {
    /// An array of one, of the column's type.
    Constant(ArrayRef),
    /// Counted from 0.
    Parameter(usize),
    Default,
}

impl PlainInsert {
    /// The INSERT made ready; None if it is not as plain as that. `known` are rules that may serve
    /// again.
    pub fn new(
        engine: &Engine,
        style: &TextStyle,
        insert: &ast::Insert,
        params: &[SqlType],
        known: Option<&PlainInsert>,
    ) -> Result<Option<PlainInsert>> {
        let Some(rows) = plain_rows(insert) else { return Ok(None) };
        let into = insert::head(&engine.catalog.names(), insert)?;
        let relation = &into.relation;
        let width = rows.first().map_or(0, |row| row.content.len());
        let mut columns: Vec<Option<Vec<PlainValue>>> = Vec::new();
        columns.resize_with(relation.columns.len(), || None);
        for (at, target) in into.targets(width)?.into_iter().enumerate() {
            let mut cells = Vec::with_capacity(rows.len());
            for row in rows {
                match given(&row.content[at], &relation.columns[target], style, params)? {
                    Some(given) => cells.push(given),
                    None => return Ok(None),
                }
            }
            let is_given = cells.iter().any(|cell| !matches!(cell, PlainValue::Default));
            if is_given && relation.columns[target].generated.is_some() {
                return Ok(None);
            }
            columns[target] = is_given.then_some(cells);
        }
        let rules = match known.filter(|known| known.rules.are_of(relation, style)) {
            Some(known) => Arc::clone(&known.rules),
            None => Arc::new(RowRules::new(engine, relation, style)?),
        };
        let defaulted = columns.iter().enumerate().filter(|(_, cells)| match cells {
            None => true,
            Some(cells) => cells.iter().any(|cell| matches!(cell, PlainValue::Default)),
        });
        let computes = rules.compute(defaulted.map(|(at, _)| at));
        let (style, params) = (style.clone(), params.to_vec());
        Ok(Some(PlainInsert { rules, style, params, rows: rows.len(), columns, computes }))
    }

    /// The types of the parameters of an INSERT as plain as that: those given, else those of their
    /// columns. None: it is not as plain, or wrong.
    pub fn parameters(
        names: &Names,
        insert: &ast::Insert,
        hints: &[Option<SqlType>],
    ) -> Option<Vec<Option<SqlType>>> {
        let rows = plain_rows(insert)?;
        let into = insert::head(names, insert).ok()?;
        let targets = into.targets(rows.first()?.content.len()).ok()?;
        let mut types = hints.to_vec();
        for row in rows {
            for (expr, target) in row.content.iter().zip(&targets) {
                match parameter(expr) {
                    Some(number) => {
                        let known = types.get_mut(number)?;
                        known
                            .get_or_insert_with(|| into.relation.columns[*target].sql_type.clone());
                    }
                    None if has_parameter(expr) => return None,
                    None => {}
                }
            }
        }
        Some(types)
    }

    /// Whether it still means the same: the relation is as it was, and so are the settings.
    pub fn is_current(&self, names: &Names, style: &TextStyle) -> bool {
        let relation = self.rules.relation();
        let found = names.find(&relation.schema, &relation.name);
        found.is_some_and(|relation| self.rules.are_of(relation, style))
    }

    /// Adds its rows to the transaction; how many they are. The parameters' values are arrays of
    /// one.
    pub async fn run(
        &self,
        engine: &Engine,
        tx: &mut SessionTransaction,
        values: &[ArrayRef],
    ) -> Result<usize> {
        let maker = RowMaker::of(Arc::clone(&self.rules), tx.begin_moment(engine));
        let relation = self.rules.relation();
        let columns = self.columns.iter().enumerate();
        let given = columns.map(|(at, cells)| match cells {
            None => Ok(None),
            Some(cells) => self.column(&maker, relation, at, cells, values).map(Some),
        });
        let rows: RecordBatch = maker.complete(given.collect::<Result<_>>()?, self.rows)?;
        add(engine, tx, relation, &[rows]).await?;
        Ok(self.rows)
    }

    fn column(
        &self,
        maker: &RowMaker,
        relation: &Relation,
        at: usize,
        cells: &[PlainValue],
        values: &[ArrayRef],
    ) -> Result<ArrayRef> {
        let mut arrays = Vec::with_capacity(cells.len());
        for cell in cells {
            arrays.push(match cell {
                PlainValue::Constant(value) => Arc::clone(value),
                PlainValue::Parameter(number) => {
                    self.parameter(*number, &relation.columns[at], values)?
                }
                PlainValue::Default => maker.default(at, 1)?,
            });
        }
        if let [one] = &arrays[..] {
            return Ok(Arc::clone(one));
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(concat(&arrays)?)
    }

    fn parameter(&self, number: usize, column: &Column, values: &[ArrayRef]) -> Result<ArrayRef> {
        let (value, sql_type) = (&values[number], &self.params[number]);
        if *sql_type == column.sql_type && *value.data_type() == sql_type.data_type() {
            return Ok(Arc::clone(value));
        }
        assign(value, &sql_type.to_field("", true), column, &self.style)
    }
}

/// The rows of an INSERT that is nothing but VALUES; they are not many, and all as wide.
fn plain_rows(insert: &ast::Insert) -> Option<&[ast::Parens<Vec<Expr>>]> {
    let rows = plain_values(insert.source.as_deref()?)?;
    let width = rows.first()?.content.len();
    let is_plain = insert.on.is_none()
        && insert.returning.is_none()
        && rows.len() <= limits::PLAIN_ROWS
        && rows.iter().all(|row| row.content.len() == width);
    is_plain.then_some(rows)
}

/// What an expression gives a column; None: something that has to be planned.
fn given(
    expr: &Expr,
    column: &Column,
    style: &TextStyle,
    params: &[SqlType],
) -> Result<Option<PlainValue>> {
    if values::is_default(expr) {
        return Ok(Some(PlainValue::Default));
    }
    if let Some(number) = plain_parameter(expr, params) {
        let sql_type = &params[number];
        check(&sql_type.to_field("", true), &sql_type.data_type(), column)?;
        return Ok(Some(PlainValue::Parameter(number)));
    }
    Ok(values::constant(style, column, expr)?.map(PlainValue::Constant))
}

/// The number of `$n`, or of `$n::type` where it is of that type, from 0.
fn plain_parameter(expr: &Expr, params: &[SqlType]) -> Option<usize> {
    let number = match expr {
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr: inner,
            data_type,
            format: None,
            ..
        } => {
            let number = parameter(inner)?;
            // A cast cuts where an assignment refuses.
            let is_cut = |of: &SqlType| matches!(of, SqlType::Varchar(_) | SqlType::Bpchar(_));
            let wanted = sql::sql_type(data_type).ok().filter(|of| !is_cut(of))?;
            (params.get(number) == Some(&wanted)).then_some(number)?
        }
        expr => parameter(expr)?,
    };
    (number < params.len()).then_some(number)
}
