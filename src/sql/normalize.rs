//! Brings queries into the normal form that `sql`'s documentation promises, and refuses what
//! sqlparser reads but no reader of the tree would notice (and so would silently ignore).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, GroupByExpr, Interval, LimitClause,
    OrderByKind, Query, Select, SetExpr, Statement, TableFactor, TimezoneInfo, Value, VisitMut,
    VisitorMut,
};

use super::asof;
use super::grammar_gaps::either_way;
use super::group_windows;
use super::interval::interval;
use super::named_windows;
use super::names::relation_name;
use super::recursion;
use super::shadowed::CommonNames;
use super::system_time;
use super::ties;
use super::visit::visit_mut;
use super::windows;
use crate::error::{Error, Result, SqlState};

/// Normalises a query with all that is in it.
pub(super) fn query(query: &mut Query) -> Result<()> {
    walk(query)
}

/// Normalises an expression.
pub(super) fn expr(expr: &mut Expr) -> Result<()> {
    walk(expr)
}

/// Normalises an INSERT, UPDATE or DELETE.
pub(super) fn statement(statement: &mut Statement) -> Result<()> {
    walk(statement)
}

fn walk(tree: &mut impl VisitMut) -> Result<()> {
    match visit_mut(tree, &mut Normalizer::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The traversal, with what it knows of the queries that it is in.
#[derive(Default)]
struct Normalizer {
    common: CommonNames,
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Normalizer {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        flow(
            check_query(query)
                .and_then(|()| check_order(query))
                .and_then(|()| fetch_to_limit(query))
                .and_then(|()| whole_limits(query))
                .and_then(|()| named_windows::of_query(query))
                .and_then(|()| group_windows::rewrite(query))
                .map(|()| recursion::rewrite(query))
                .map(|()| self.common.enter(query)),
        )
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.common.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        flow(
            check_select(select)
                .and_then(|()| named_windows::of_select(select).map(drop))
                .and_then(|()| asof::rewrite(select)),
        )
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        self.common.rename(factor);
        let checked = check_factor(factor)
            .and_then(|()| system_time::rewrite(factor))
            .and_then(|()| asof::of_factor(factor));
        flow(checked.and_then(|()| windows::rewrite(factor)))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(named_windows::check(expr).and_then(|()| rewrite_expr(expr)))
    }
}

fn check_query(query: &Query) -> Result<()> {
    if !query.locks.is_empty() {
        return Err(Error::unsupported("SELECT FOR UPDATE and FOR SHARE are not supported")
            .hint("Leave it out: a query reads one epoch and never waits for writers."));
    }
    if query.for_clause.is_some() {
        return Err(Error::unsupported("FOR XML and FOR JSON are not supported"));
    }
    let mut bodies = vec![&*query.body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(refused_to_write());
            }
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {}
        }
    }
    Ok(())
}

/// 0A000 for a statement that writes where a query stands.
fn refused_to_write() -> Error {
    Error::unsupported("statements that write are not supported in a query")
        .hint("Put them into the WITH that the whole statement begins with.")
}

/// ORDER BY over several queries names columns of their result.
fn check_order(query: &Query) -> Result<()> {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|by| &by.kind) else {
        return Ok(());
    };
    let is_of_several = matches!(*query.body, SetExpr::SetOperation { .. });
    keys.iter().try_for_each(|key| {
        let key = without_parentheses(&key.expr);
        check_constant(key, "ORDER BY")?;
        let is_name = matches!(key, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if is_name || !is_of_several {
            return Ok(());
        }
        Err(Error::unsupported("invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
            .detail("Only result column names can be used, not expressions or functions.")
            .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."))
    })
}

/// A constant among keys is the number of a column.
fn check_constant(key: &Expr, clause: &str) -> Result<()> {
    let Expr::Value(constant) = without_parentheses(key) else { return Ok(()) };
    match &constant.value {
        Value::Number(digits, _) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(()),
        Value::Placeholder(_) => Ok(()),
        _ => Err(Error::new(SqlState::Syntax, format!("non-integer constant in {clause}"))
            .hint("Write the name or the number of a column.")),
    }
}

fn without_parentheses(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn check_select(select: &Select) -> Result<()> {
    if select.into.is_some() {
        return Err(Error::unsupported("SELECT INTO is not supported")
            .hint("Use CREATE TABLE name AS SELECT …."));
    }
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        keys.iter().try_for_each(|key| check_constant(key, "GROUP BY"))?;
    }
    Ok(())
}

fn check_factor(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => Err(Error::unsupported(
            "options behind a relation in FROM are not supported",
        )
        .hint("WITH (…) belongs before AS in CREATE MATERIALIZED VIEW, and behind the query in SUBSCRIBE.")),
        // Another database is refused, whatever is looked for in it.
        TableFactor::Table { name, args: None, .. } if name.0.len() > 2 => {
            relation_name(name).map(drop)
        }
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            Err(Error::unsupported("TABLESAMPLE is not supported").hint("Use WHERE with a hash of the key."))
        }
        _ => Ok(()),
    }
}

/// FETCH FIRST n ROWS ONLY is LIMIT n.
fn fetch_to_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.percent {
        return Err(Error::unsupported("FETCH FIRST with PERCENT is not supported")
            .hint("Use PERCENT_RANK() in a subquery."));
    }
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    let quantity = fetch.quantity.unwrap_or_else(one);
    if fetch.with_ties {
        return ties::rewrite(query, quantity);
    }
    match &mut query.limit_clause {
        None => {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: Some(quantity),
                offset: None,
                limit_by: Vec::new(),
            });
            Ok(())
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => {
            *limit = Some(quantity);
            Ok(())
        }
        Some(_) => Err(Error::new(SqlState::Syntax, "multiple LIMIT clauses not allowed")),
    }
}

/// LIMIT and OFFSET are whole numbers: of anything else they are what comes of a cast.
fn whole_limits(query: &mut Query) -> Result<()> {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return Ok(());
    };
    for count in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
        while let Expr::Nested(inner) = count {
            *count = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
        }
        let is_whole = match count {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => digits.bytes().all(|digit| digit.is_ascii_digit()),
                Value::Null | Value::Placeholder(_) => true,
                Value::SingleQuotedString(text) => {
                    let number = text.trim().parse::<i64>().map_err(|_| {
                        let what = format!("invalid input syntax for type bigint: \"{text}\"");
                        Error::new(SqlState::BadText, what)
                    })?;
                    *count = Expr::value(Value::Number(number.to_string(), false));
                    continue;
                }
                _ => false,
            },
            Expr::Cast { data_type, .. } => matches!(data_type, DataType::BigInt(_)),
            _ => false,
        };
        if !is_whole {
            let whole = std::mem::replace(count, Expr::value(Value::Null));
            *count = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Nested(Box::new(whole))),
                data_type: DataType::BigInt(None),
                array: false,
                format: None,
            };
        }
    }
    Ok(())
}

fn rewrite_expr(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Between { .. } => {
            either_way(expr);
            Ok(())
        }
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
            let op = op.clone();
            balance(expr, &op);
            Ok(())
        }
        Expr::Interval(written) => canonical_interval(written),
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr: text,
            data_type: DataType::Interval { .. },
            ..
        } if is_text(text) => {
            // A cast of a literal is another spelling of the constant; DataFusion's own reading of
            // the text knows fewer.
            let mut written = bare_interval(Box::new(std::mem::replace(
                &mut **text,
                Expr::Value(Value::Null.into()),
            )));
            canonical_interval(&mut written)?;
            *expr = Expr::Interval(written);
            Ok(())
        }
        Expr::Cast { data_type, .. } | Expr::TypedString(ast::TypedString { data_type, .. }) => {
            postgres_type(data_type);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `a AND b AND c AND d`, a chain as deep as it is long, becomes `(a AND b) AND (c AND d)`. Short
/// chains stay as they are.
fn balance(expr: &mut Expr, chain: &BinaryOperator) {
    let mut operands = Vec::new();
    let mut rest = take(expr);
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == *chain => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    while operands.len() > 1 {
        // A few operands stay a chain, so that plans of ordinary queries read as they were written.
        if operands.len() <= 16 {
            let joined = operands.drain(..).reduce(|left, right| join(left, chain, right));
            operands.extend(joined);
            break;
        }
        let mut halves = operands.into_iter();
        let mut pairs = Vec::with_capacity(halves.len() / 2 + 1);
        while let Some(left) = halves.next() {
            pairs.push(match halves.next() {
                Some(right) => join(left, chain, right),
                None => left,
            });
        }
        operands = pairs;
    }
    if let Some(whole) = operands.pop() {
        *expr = whole;
    }
}

fn join(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

/// Interval constants in the one spelling that DataFusion is sure to read; anything else is left to
/// it.
fn canonical_interval(written: &mut Interval) -> Result<()> {
    let constant = match &*written.value {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::UnaryOp { expr, .. } => matches!(**expr, Expr::Value(_)),
        _ => false,
    };
    if !constant {
        return Ok(());
    }
    let text = interval(&Expr::Interval(written.clone()))?.to_string();
    *written = bare_interval(Box::new(Expr::Value(Value::SingleQuotedString(text).into())));
    Ok(())
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// An interval without fields.
fn bare_interval(value: Box<Expr>) -> Interval {
    Interval {
        value,
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }
}

/// STRING, BYTES and TIMESTAMP_LTZ(p) are names of other systems.
fn postgres_type(data_type: &mut DataType) {
    match data_type {
        DataType::String(_) => *data_type = DataType::Text,
        DataType::Bytes(_) => *data_type = DataType::Bytea,
        DataType::Array(
            ast::ArrayElemTypeDef::AngleBracket(element)
            | ast::ArrayElemTypeDef::SquareBracket(element, _),
        ) => {
            let mut element = std::mem::replace(&mut **element, DataType::Text);
            postgres_type(&mut element);
            *data_type =
                DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(element), None));
        }
        DataType::Custom(name, arguments)
            if name.to_string().eq_ignore_ascii_case("timestamp_ltz") =>
        {
            let digits = arguments.first().and_then(|digits| digits.parse().ok());
            *data_type = DataType::Timestamp(digits, TimezoneInfo::WithTimeZone);
        }
        _ => {}
    }
}
