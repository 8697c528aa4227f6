//! Queries about the system in other words: what psql and drivers write and DataFusion cannot plan.
//!
//! | written | planned |
//! |---|---|
//! | `pg_catalog.f(x)` | `f(x)` |
//! | `x OPERATOR(pg_catalog.~) y`, `x COLLATE c` | `x ~ y`, `x` |
//! | `'t'::regclass`, `oid::regclass::text` | `regclassin('t')`, `regclassout(oid)` |
//! | `x = ANY ('{r,p}')` | `x = ANY (ARRAY['r', 'p'])` |
//! | `information_schema.t` | a name that DataFusion has no table of its own for |

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, TableFactor, Value, VisitorMut,
};

use super::super::transaction::SystemContext;
use super::expanding::{row_of, unnested};
use super::names::{PG_CATALOG_TABLES, last};
use super::{fixed, functions, information};
use crate::error::Result;
use crate::sql::{
    function_call as call, ident_name, parse_expr, visit_expressions, visit_mut, visit_relations,
};

/// The part before the last.
fn schema(name: &ObjectName) -> Option<String> {
    let at = name.0.len().checked_sub(2)?;
    name.0[at].as_ident().map(ident_name)
}

/// Whether a query is about the system.
pub(crate) fn concerns(query: &Query) -> bool {
    let relations = visit_relations(query, |name| {
        let system = match schema(name).as_deref() {
            Some("pg_catalog" | "information_schema") => true,
            Some(_) => false,
            None => PG_CATALOG_TABLES.contains(&last(name).as_str()),
        };
        if system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let expressions = visit_expressions(query, |expr| {
        let system = match expr {
            Expr::Function(call) => {
                schema(&call.name).as_deref() == Some("pg_catalog")
                    || functions::is_known(&last(&call.name))
            }
            Expr::Cast { data_type, .. } => registered(data_type).is_some(),
            _ => false,
        };
        if system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    relations.is_break() || expressions.is_break()
}

/// Rewrites the query in place.
pub(crate) fn rewrite(query: &mut Query, cx: &SystemContext) -> Result<()> {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection.iter_mut().try_for_each(show_name)?;
        select.projection.iter_mut().for_each(show_vector);
    }
    let _: ControlFlow<()> = visit_mut(query, &mut Rewriter { cx, tables: Vec::new() });
    Ok(())
}

/// `SELECT 't'::regclass` shows a name; anywhere else it stands for a number.
fn show_name(item: &mut SelectItem) -> Result<()> {
    if let SelectItem::UnnamedExpr(expr @ Expr::Cast { .. }) = item
        && let Expr::Cast { data_type, .. } = expr
        && let Some(kind) = registered(data_type).filter(|kind| *kind != "oid")
    {
        let shown = parse_expr("CAST(NULL AS text)")?;
        let inner = std::mem::replace(expr, shown);
        if let Expr::Cast { expr: shown, .. } = expr {
            **shown = inner;
        }
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(kind) };
    }
    Ok(())
}

/// An `oidvector` or `int2vector` that is shown: numbers with blanks between them.
fn show_vector(item: &mut SelectItem) {
    const VECTORS: [&str; 5] = ["proargtypes", "indkey", "indclass", "indcollation", "indoption"];
    let (expr, alias) = match item {
        SelectItem::UnnamedExpr(expr) => (expr, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
        _ => return,
    };
    let name = match expr {
        Expr::Identifier(name) => name.clone(),
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name.clone(),
            None => return,
        },
        _ => return,
    };
    if VECTORS.contains(&ident_name(&name).as_str()) {
        let blank = Expr::value(Value::SingleQuotedString(" ".to_owned()));
        let shown = call("array_to_string", vec![expr.clone(), blank]);
        *item = SelectItem::ExprWithAlias { expr: shown, alias: alias.unwrap_or(name) };
    }
}

/// `regclass`, `regtype`, …: the kind of thing whose oid such a type stands for.
fn registered(data_type: &DataType) -> Option<&'static str> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => last(name),
        _ => return None,
    };
    match name.as_str() {
        "regclass" => Some("regclass"),
        "regtype" => Some("regtype"),
        "regnamespace" => Some("regnamespace"),
        "regproc" | "regprocedure" => Some("regproc"),
        "regoperator" => Some("regoperator"),
        "oid" | "xid" | "regrole" | "regoper" | "regconfig" | "regdictionary" => Some("oid"),
        _ => None,
    }
}

/// Whether a column holds the name of a function.
fn is_procedure(expr: &Expr) -> bool {
    const COLUMNS: [&str; 10] = [
        "typinput",
        "typoutput",
        "typreceive",
        "typsend",
        "typmodin",
        "typmodout",
        "typanalyze",
        "oprcode",
        "amhandler",
        "conproc",
    ];
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| COLUMNS.contains(&ident_name(name).as_str()))
}

/// The name in `'…'::regproc`, which is a call by now, as text.
fn procedure(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => procedure(inner),
        Expr::Function(function) if last(&function.name) == "regprocin" => match &function.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => {
                    match &value.value {
                        Value::SingleQuotedString(name) => {
                            let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
                            Some(Expr::value(Value::SingleQuotedString(name.to_owned())))
                        }
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

struct Rewriter<'a> {
    cx: &'a SystemContext,
    /// For each SELECT around this place, what its relations are called and which tables of the
    /// system they are.
    tables: Vec<Vec<(String, String)>>,
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Nested(inner) => is_constant(inner),
        Expr::Cast { expr, .. } => is_constant(expr),
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text | DataType::Varchar(_) => true,
        DataType::Custom(name, _) => matches!(last(name).as_str(), "text" | "name"),
        _ => false,
    }
}

/// `'{r,p}'` as psql writes it for lists of letters.
fn list_of(text: &Expr) -> Option<Expr> {
    match text {
        Expr::Nested(inner) => list_of(inner),
        Expr::Value(value) => {
            let Value::SingleQuotedString(text) = &value.value else { return None };
            let items = text.trim().strip_prefix('{')?.strip_suffix('}')?;
            let quoted =
                items.split(',').map(|item| format!("'{}'", item.trim().replace('\'', "''")));
            parse_expr(&format!("ARRAY[{}]", quoted.collect::<Vec<_>>().join(", "))).ok()
        }
        _ => None,
    }
}

/// The relations of a FROM clause: what they are called there, and the last part of their own
/// names.
fn named_tables(select: &ast::Select) -> Vec<(String, String)> {
    let factors = select.from.iter().flat_map(|item| {
        std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation))
    });
    let named = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let table = last(name);
            Some((
                alias.as_ref().map_or_else(|| table.clone(), |alias| ident_name(&alias.name)),
                table,
            ))
        }
        _ => None,
    });
    named.collect()
}

impl Rewriter<'_> {
    fn cast(inner: &Expr, data_type: &DataType) -> Option<Expr> {
        if is_text(data_type) {
            if let Expr::Cast { expr, data_type: of, .. } = inner
                && let Some(kind) = registered(of)
                && kind != "oid"
            {
                return Some(call(&format!("{kind}out"), vec![Expr::clone(expr)]));
            }
            if let Expr::Function(function) = inner
                && let Some(kind) = last(&function.name).strip_suffix("in")
                && kind.starts_with("reg")
            {
                return Some(call(&format!("{kind}out"), vec![inner.clone()]));
            }
            // An inner cast has been visited before and is a function by now.
            if matches!(inner, Expr::Function(call) if last(&call.name).ends_with("out")) {
                return Some(inner.clone());
            }
            // A cast to text leaves a `name` what it is.
            if matches!(inner, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                return Some(call("textout", vec![inner.clone()]));
            }
        }
        let kind = registered(data_type)?;
        Some(match (kind, is_constant(inner)) {
            ("oid", _) => match inner {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) => parse_expr(text.trim()).ok()?,
                    _ => inner.clone(),
                },
                _ => inner.clone(),
            },
            (kind, true) => call(&format!("{kind}in"), vec![inner.clone()]),
            (kind, false) => call(&format!("{kind}out"), vec![inner.clone()]),
        })
    }

    /// Whether a subquery calls a function in FROM for each row of a table that never has any, as
    /// psql does for the columns of a publication, or for options that no relation has: it cannot
    /// be planned, and has nothing to be run for.
    fn is_never_run(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = query.body.as_ref() else { return false };
        let reads_nothing = |expr: &Expr| {
            let found = visit_expressions(expr, |part| match part {
                Expr::CompoundIdentifier(parts)
                    if parts.len() == 2
                        && (ident_name(&parts[1]) == "reloptions"
                            || self.is_of_empty(&parts[0])) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            });
            found.is_break()
        };
        select.from.iter().any(|item| match &item.relation {
            TableFactor::Table { args: Some(given), .. } => {
                given.args.iter().any(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => reads_nothing(expr),
                    _ => false,
                })
            }
            _ => false,
        })
    }

    /// Whether a relation around this place is a table that never has rows.
    fn is_of_empty(&self, relation: &Ident) -> bool {
        let relation = ident_name(relation);
        let mut known = self.tables.iter().rev().flatten();
        known
            .find(|(name, _)| *name == relation)
            .is_some_and(|(_, table)| fixed::empty(table).is_some())
    }

    fn replaced(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::Collate { expr, .. } => Some(Expr::clone(expr)),
            Expr::Cast { expr: inner, data_type, .. } => Self::cast(inner, data_type),
            Expr::Function(_) | Expr::CompoundFieldAccess { .. } => unnested(expr),
            // Of which table a row is.
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, column] if ident_name(column) == "tableoid" => {
                    let relation = ident_name(relation);
                    let mut known = self.tables.iter().rev().flatten();
                    let (_, table) = known.find(|(name, _)| *name == relation)?;
                    let oid = super::relations::find(self.cx, &format!("pg_catalog.{table}"))?;
                    parse_expr(&oid.to_string()).ok()
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        self.tables.push(named_tables(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut ast::Select) -> ControlFlow<()> {
        self.tables.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if schema(relation).as_deref() == Some("information_schema")
            && let Some(name) = information::rename(&last(relation))
        {
            *relation =
                ObjectName::from(vec![Ident::new("pg_catalog"), Ident::with_quote('"', name)]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args, .. } = factor {
            if args.is_some() && schema(name).as_deref() == Some("pg_catalog") {
                *name = ObjectName::from(vec![Ident::new(last(name))]);
            }
            match (last(name).as_str(), args.as_mut()) {
                ("pg_get_keywords" | "pg_partition_tree" | "ts_token_type", Some(_)) => {
                    *args = None
                }
                ("string_to_array" | "parse_ident", Some(given)) => {
                    if let Some(row) = row_of(&last(name), &given.args, alias.as_ref()) {
                        *factor = row;
                        return ControlFlow::Continue(());
                    }
                }
                _ => {}
            }
            // Its columns may be named `tables.table_name`.
            if alias.is_none() && schema(name).as_deref() == Some("information_schema") {
                *alias = Some(ast::TableAlias {
                    explicit: true,
                    name: Ident::with_quote('"', last(name)),
                    columns: Vec::new(),
                    at: None,
                });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let subquery = match expr {
            Expr::Subquery(query) => Some(&*query),
            Expr::Function(ast::Function { args: FunctionArguments::Subquery(query), .. }) => {
                Some(&*query)
            }
            _ => None,
        };
        if subquery.is_some_and(|query| self.is_never_run(query)) {
            *expr = Expr::value(Value::Null);
            return ControlFlow::Continue(());
        }
        // Before what is inside is visited: it may have to be thrown away whole.
        if matches!(expr, Expr::Function(_) | Expr::CompoundFieldAccess { .. })
            && let Some(replaced) = self.replaced(expr)
        {
            *expr = replaced;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if schema(&function.name).as_deref() == Some("pg_catalog") => {
                function.name = ObjectName::from(vec![Ident::new(last(&function.name))]);
            }
            Expr::BinaryOp { op, left, right } => {
                if let Some(name) = procedure(right).filter(|_| is_procedure(left)) {
                    **right = name;
                } else if let Some(name) = procedure(left).filter(|_| is_procedure(right)) {
                    **left = name;
                }
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                    *op = match parts.last().map(String::as_str) {
                        Some("~") => BinaryOperator::PGRegexMatch,
                        Some("~*") => BinaryOperator::PGRegexIMatch,
                        Some("!~") => BinaryOperator::PGRegexNotMatch,
                        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
                        Some("=") => BinaryOperator::Eq,
                        Some("<>") => BinaryOperator::NotEq,
                        _ => return ControlFlow::Continue(()),
                    };
                }
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Some(list) = list_of(right) {
                    **right = list;
                }
            }
            other => {
                if let Some(replaced) = self.replaced(other) {
                    *other = replaced;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
