//! What the columns of a query are called: as Postgres calls them.
//!
//! DataFusion names `count(*)` after its text and refuses two columns of one name; Postgres says
//! `count` and does not mind. So every expression without an alias gets one before planning, and a
//! name that is there already gets a mark behind it that [`shown_name`] takes away again.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr, Query, Select,
    SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value,
    VisitMut, VisitorMut,
};

use super::row_types::type_rows;
use super::spellings::trim_name;
use crate::sql::{alias_of, is_byte_order, visit_mut};

/// Stands between a name and the number that makes it unique; no SQL text can hold it in a name
/// that matters.
const MARK: char = '\u{1}';

/// The name as the client sees it.
pub fn shown_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// The schema as the client sees it; every column may be NULL.
pub fn shown_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_name(shown_name(field.name())).with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Gives every expression in every SELECT list of a query, or of an expression's subqueries, a name, and
/// reads fields and numbers as Postgres does.
pub fn name_columns(part: &mut impl VisitMut) {
    // The visitor never breaks off.
    let _ = visit_mut(part, &mut Namer { beside_wildcards: Beside::Marked });
}

/// The same, but for columns that stand beside `*`: they keep their names, so that they can be named
/// outside, as `x` in `SELECT x FROM (SELECT a.*, b.x FROM a, b)`. What `*` stands for must not have
/// such a name as well.
pub fn name_columns_alone(part: &mut impl VisitMut) {
    let _ = visit_mut(part, &mut Namer { beside_wildcards: Beside::Plain });
}

/// What becomes of the names of columns beside `*`, of which it is not known what it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// They get a mark: two columns of one name are no error.
    Marked,
    /// They stay.
    Plain,
}

struct Namer {
    beside_wildcards: Beside,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // `(row).field`: DataFusion takes the field's name as a text.
        if let Expr::CompoundFieldAccess { root, access_chain } = expr
            && matches!(**root, Expr::Nested(_))
        {
            for access in access_chain {
                if let AccessExpr::Dot(part @ Expr::Identifier(_)) = access
                    && let Expr::Identifier(name) = &*part
                {
                    *part = Expr::value(Value::SingleQuotedString(folded(name)));
                }
            }
        }
        if let Expr::Function(call) = expr {
            order_distinct(call);
        }
        while let Expr::Collate { expr: inner, collation } = expr
            && is_byte_order(collation)
        {
            let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
            *expr = inner;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::UNNEST { alias, array_exprs, .. } = factor
            && array_exprs.len() == 1
        {
            name_elements(alias);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut bodies = vec![query.body.as_mut()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Values(values) => type_rows(values),
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&mut **left, right]),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_select(select, self.beside_wildcards);
        ControlFlow::Continue(())
    }
}

/// The column of `UNNEST(a) AS tag` is called like the relation; without a name both are `unnest`.
fn name_elements(alias: &mut Option<TableAlias>) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new("unnest"),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

/// `array_agg(DISTINCT x)` is in the order of `x`, as in Postgres; otherwise it would be in that of
/// a hash table.
fn order_distinct(call: &mut Function) {
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(folded);
    let FunctionArguments::List(list) = &mut call.args else { return };
    if !matches!(name.as_deref(), Some("array_agg" | "string_agg" | "json_agg" | "jsonb_agg"))
        || list.duplicate_treatment != Some(DuplicateTreatment::Distinct)
        || list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
    {
        return;
    }
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.first() {
        let order = OrderByExpr { expr: value.clone(), ..OrderByExpr::from(Ident::new("x")) };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![order]));
    }
}

fn name_select(select: &mut Select, beside_wildcards: Beside) {
    let is_wildcard = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
    };
    let has_wildcard =
        beside_wildcards == Beside::Marked && select.projection.iter().any(is_wildcard);
    let mut names: HashSet<String> = HashSet::new();
    let mut texts: HashSet<String> = HashSet::new();
    // Names of columns that are of no relation.
    let mut given: HashSet<String> = HashSet::new();
    let relations = relations(&select.from);
    let mut number = 0;
    for item in &mut select.projection {
        let (name, expr) = match item {
            SelectItem::UnnamedExpr(expr) => (column_name(expr), expr.clone()),
            SelectItem::ExprWithAlias { expr, alias } => (folded(alias), expr.clone()),
            _ => continue,
        };
        let is_new = names.insert(name.clone());
        let unique = if is_new {
            name.clone()
        } else {
            number += 1;
            format!("{name}{MARK}{number}")
        };
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(_)) if is_new && !has_wildcard => {}
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                if !has_wildcard && !is_field(parts, relations.as_deref()) =>
            {
                // a.id and b.id may stand side by side; the same column twice may not, nor a.id behind
                // an id that is of neither.
                if !texts.insert(expr.to_string().to_lowercase()) || given.contains(&name) {
                    *item = aliased(expr, unique);
                }
                continue;
            }
            SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                if has_wildcard =>
            {
                number += 1;
                *item = aliased(expr, format!("{name}{MARK}{number}"));
            }
            SelectItem::ExprWithAlias { .. } if is_new => {}
            _ => *item = aliased(expr, unique),
        }
        given.insert(name);
    }
}

/// Whether these parts name a field of a column of type ROW, seen from what the relations of a FROM are
/// called: DataFusion would name it after the column and itself.
fn is_field(parts: &[Ident], relations: Option<&[String]>) -> bool {
    let qualifier = parts.len().checked_sub(2).map(|at| folded(&parts[at]));
    relations.is_some_and(|known| qualifier.is_some_and(|name| !known.contains(&name)))
}

/// What the relations of a FROM are called; None: one of them has no name that is known here.
fn relations(from: &[TableWithJoins]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for table in from {
        let joined = table.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&table.relation).chain(joined) {
            match factor {
                TableFactor::NestedJoin { table_with_joins, alias: None } => {
                    names.extend(relations(std::slice::from_ref(table_with_joins))?);
                }
                _ => names.push(folded(&alias_of(factor)?)),
            }
        }
    }
    Some(names)
}

fn aliased(expr: Expr, name: String) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name Postgres gives to an expression.
pub fn column_name(expr: &Expr) -> String {
    known_name(expr).unwrap_or_else(|| "?column?".to_owned())
}

fn known_name(expr: &Expr) -> Option<String> {
    let name = match expr {
        Expr::Identifier(ident) => return Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => return parts.last().map(folded),
        Expr::Function(call) => {
            return call.name.0.last().and_then(|part| part.as_ident()).map(folded);
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return known_name(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            return strong_name(inner).or_else(|| Some(type_name(data_type)));
        }
        Expr::TypedString(typed) => return Some(type_name(&typed.data_type)),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Value(value))) => match &value.value {
                Value::SingleQuotedString(name) => return Some(name.clone()),
                _ => return None,
            },
            Some(AccessExpr::Subscript(_)) => {
                let dot = access_chain.iter().rev().find_map(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => Some(folded(name)),
                    AccessExpr::Dot(Expr::Value(value)) => value.value.clone().into_string(),
                    _ => None,
                });
                return dot.or_else(|| known_name(root));
            }
            _ => return None,
        },
        Expr::Case { else_result, .. } => {
            let name = else_result.as_deref().and_then(strong_name);
            return name.or_else(|| Some("case".to_owned()));
        }
        Expr::Exists { negated: false, .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Extract { .. } => "extract",
        Expr::Substring { shorthand: true, .. } => "substr",
        Expr::Substring { .. } => "substring",
        Expr::Trim { trim_where, .. } => trim_name(trim_where.as_ref()),
        Expr::Position { .. } => "position",
        Expr::Overlay { .. } => "overlay",
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => "overlaps",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Interval(_) => "interval",
        Expr::Tuple(_) => "row",
        Expr::Subquery(query) => return subquery_name(query),
        _ => return None,
    };
    Some(name.to_owned())
}

/// A name that a cast does not replace by that of its type.
fn strong_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => strong_name(inner),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(strong_name),
        Expr::TypedString(_) | Expr::Interval(_) | Expr::Value(_) => None,
        other => known_name(other),
    }
}

fn subquery_name(query: &Query) -> Option<String> {
    let mut body = query.body.as_ref();
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => return subquery_name(query),
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Values(_) => return Some("column1".to_owned()),
            _ => return None,
        }
    };
    match select.projection.first()? {
        SelectItem::Wildcard(_) => match &select.from.first()?.relation {
            TableFactor::Derived { subquery, .. } => subquery_name(subquery),
            _ => None,
        },
        SelectItem::UnnamedExpr(expr) => known_name(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(shown_name(&folded(alias)).to_owned()),
        _ => None,
    }
}

fn type_name(data_type: &DataType) -> String {
    let text = data_type.to_string().to_lowercase();
    let base = text.trim_end_matches("[]").split('(').next().unwrap_or(&text).trim();
    let name = match base {
        "int" | "integer" | "int4" => "int4",
        "bigint" | "int8" => "int8",
        "smallint" | "int2" => "int2",
        "double precision" | "float8" | "double" | "float" => "float8",
        "real" | "float4" => "float4",
        "boolean" | "bool" => "bool",
        "decimal" | "numeric" => "numeric",
        "character varying" | "varchar" => "varchar",
        "character" | "char" => "bpchar",
        "timestamp" | "timestamp without time zone" => "timestamp",
        "timestamptz" | "timestamp with time zone" => "timestamptz",
        other => other,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn check(sql: &str, expect: &[&str]) {
        let mut parsed = parse_query(sql).unwrap();
        name_columns(&mut parsed.query);
        let SetExpr::Select(select) = parsed.query.body.as_ref() else { panic!("{sql}") };
        let names: Vec<String> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => shown_name(&alias.value).to_owned(),
                other => other.to_string(),
            })
            .collect();
        assert_eq!(names, expect, "{sql}");
    }

    #[test]
    fn columns_are_named_as_in_postgres() {
        check(
            "SELECT 1, 1, count(*), a, a, b.c, r.d FROM t, b",
            &["?column?", "?column?", "count", "a", "a", "b.c", "d"],
        );
        check("SELECT x::int, '1'::int, CASE WHEN a THEN 1 END FROM t", &["x", "int4", "case"]);
        check(
            "SELECT ('{1}'::int[]), '{1}'::int[]::float8[], CASE WHEN a THEN NULL::text[] ELSE '{x}'::text[] END FROM t",
            &["int4", "float8", "case"],
        );
        check(
            "SELECT true, (SELECT 1 AS x UNION SELECT 2), (SELECT * FROM (VALUES (1)) AS v)",
            &["?column?", "x", "column1"],
        );
    }
}
