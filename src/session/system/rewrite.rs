//! Queries about the system in other words: what psql and drivers write and DataFusion cannot plan.
//!
//! | written | planned |
//! |---|---|
//! | `pg_catalog.f(x)` | `f(x)` |
//! | `x OPERATOR(pg_catalog.~) y`, `x COLLATE c` | `x ~ y`, `x` |
//! | `'t'::regclass`, `oid::regclass::text` | `regclassin('t')`, `regclassout(oid)` |
//! | `x = ANY (array)`, `x <> ALL (array)` | `array_has(array, x)`, `NOT …` |
//! | `ARRAY(SELECT …)` | `(SELECT array_agg(…) …)` |
//! | a scalar subquery over outer columns | the same with `max(…)`, since it has one row at the most |
//! | `information_schema.t` | a name that DataFusion has no table of its own for |
//!
//! An `ARRAY(…)` over outer columns, and a subquery over a function of outer columns, cannot be planned at all. psql uses
//! them for privileges, policies, memberships, publications and collations, of which there are none: they become an empty array
//! and NULL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
    visit_expressions, visit_relations,
};

use super::super::transaction::SystemContext;
use super::{catalog, functions, information};
use crate::error::Result;
use crate::sql::{ident_name, parse_expr};

/// The last part of a name, folded.
fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(ident_name).unwrap_or_default()
}

/// The part before the last.
fn schema(name: &ObjectName) -> Option<String> {
    let at = name.0.len().checked_sub(2)?;
    name.0[at].as_ident().map(ident_name)
}

/// Whether a query is about the system.
pub(super) fn concerns(query: &Query) -> bool {
    let relations = visit_relations(query, |name| {
        let system = match schema(name).as_deref() {
            Some("pg_catalog" | "information_schema") => true,
            Some(_) => false,
            None => catalog::NAMES.contains(&last(name).as_str()),
        };
        if system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let expressions = visit_expressions(query, |expr| {
        let system = match expr {
            Expr::Function(call) => {
                schema(&call.name).as_deref() == Some("pg_catalog") || functions::is_known(&last(&call.name))
            }
            Expr::Cast { data_type, .. } => registered(data_type).is_some(),
            _ => false,
        };
        if system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    relations.is_break() || expressions.is_break()
}

/// Rewrites the query in place.
pub(super) fn rewrite(query: &mut Query, _: &SystemContext) -> Result<()> {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection.iter_mut().try_for_each(show_name)?;
    }
    let mut rewriter = Rewriter { parsed: Parsed::new()? };
    let _: ControlFlow<()> = query.visit(&mut rewriter);
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
        "oid" | "xid" | "regrole" | "regoper" | "regconfig" | "regdictionary" => Some("oid"),
        _ => None,
    }
}

/// Pieces of syntax that are put in.
struct Parsed {
    null: Expr,
    empty_array: Expr,
}

impl Parsed {
    fn new() -> Result<Parsed> {
        Ok(Parsed {
            null: parse_expr("CAST(NULL AS text)")?,
            empty_array: parse_expr("array_remove(ARRAY[CAST('' AS text)], '')")?,
        })
    }
}

struct Rewriter {
    parsed: Parsed,
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
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

fn array_of(right: &Expr) -> Option<Expr> {
    match right {
        // `'{r,p}'` as psql writes it for lists of letters.
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                let items = text.trim().strip_prefix('{')?.strip_suffix('}')?;
                let quoted = items.split(',').map(|item| format!("'{}'", item.trim().replace('\'', "''")));
                parse_expr(&format!("ARRAY[{}]", quoted.collect::<Vec<_>>().join(", "))).ok()
            }
            _ => None,
        },
        Expr::Subquery(_) => None,
        Expr::Nested(inner) => array_of(inner),
        other => Some(other.clone()),
    }
}

/// The names by which a query's own FROM clauses call their relations, and whether one of them is a function.
#[derive(Default)]
struct Own {
    names: Vec<String>,
    has_function: bool,
}

impl ast::Visitor for Own {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            TableFactor::Table { name, alias, args, .. } => {
                self.has_function |= args.is_some();
                self.names.push(last(name));
                alias
            }
            TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                self.has_function = true;
                alias
            }
            TableFactor::Derived { alias, .. } => alias,
            _ => &None,
        };
        self.names.extend(alias.iter().map(|alias| ident_name(&alias.name)));
        ControlFlow::Continue(())
    }
}

fn own(query: &Query) -> Own {
    let mut own = Own::default();
    let _ = ast::Visit::visit(query, &mut own);
    own
}

/// Whether a subquery names columns of the query around it.
fn is_correlated(query: &Query, own: &Own) -> bool {
    let found = visit_expressions(query, |expr| match expr {
        Expr::CompoundIdentifier(parts) => {
            let relation = parts.len().checked_sub(2).map(|at| ident_name(&parts[at]));
            match relation.is_some_and(|name| !own.names.contains(&name)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// The conditions that AND joins.
fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(*left);
            all.extend(conjuncts(*right));
            all
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => {
            conjuncts(*inner)
        }
        other => vec![other],
    }
}

/// Whether a condition names columns of the outer query, and of the inner one.
fn sides(condition: &Expr, own: &Own) -> (bool, bool) {
    let (mut outer, mut inner) = (false, false);
    let _ = visit_expressions(condition, |expr| {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                let relation = parts.len().checked_sub(2).map(|at| ident_name(&parts[at]));
                match relation.is_some_and(|name| own.names.contains(&name)) {
                    true => inner = true,
                    false => outer = true,
                }
            }
            Expr::Identifier(_) => inner = true,
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    (outer, inner)
}

/// Puts an aggregate around the one column of a SELECT.
fn aggregated(query: &Query, function: &str) -> Option<Query> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let expr = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => expr.clone(),
        _ => return None,
    };
    let has_groups = match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    if has_groups || select.distinct.is_some() || is_aggregate(&expr) {
        return None;
    }
    select.projection = vec![SelectItem::UnnamedExpr(call(function, vec![expr]))];
    query.order_by = None;
    query.limit_clause = None;
    Some(query)
}

fn is_aggregate(expr: &Expr) -> bool {
    const NAMES: [&str; 9] =
        ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_or", "bool_and"];
    matches!(expr, Expr::Function(call) if NAMES.contains(&last(&call.name).as_str()))
}

impl Rewriter {
    fn cast(&self, inner: &Expr, data_type: &DataType) -> Option<Expr> {
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

    /// A subquery over outer columns. Conditions on outer columns alone go outside; where one is neither that nor an
    /// equation there is no plan for it.
    fn scalar(&self, query: &Query, own: &Own) -> Option<Expr> {
        let mut query = query.clone();
        let mut outside = Vec::new();
        if let SetExpr::Select(select) = query.body.as_mut() {
            let mut inside = Vec::new();
            for condition in select.selection.take().map(conjuncts).unwrap_or_default() {
                let (outer, inner) = sides(&condition, own);
                let is_equation = matches!(&condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. });
                match (outer, inner) {
                    (true, false) => outside.push(condition),
                    (true, true) if !is_equation => return Some(self.parsed.null.clone()),
                    _ => inside.push(condition),
                }
            }
            select.selection = inside.into_iter().reduce(and);
        }
        let subquery = Expr::Subquery(Box::new(aggregated(&query, "max")?));
        match outside.into_iter().reduce(and) {
            None => Some(subquery),
            Some(condition) => Some(Expr::Case {
                case_token: ast::helpers::attached_token::AttachedToken::empty(),
                end_token: ast::helpers::attached_token::AttachedToken::empty(),
                operand: None,
                conditions: vec![ast::CaseWhen { condition, result: subquery }],
                else_result: None,
            }),
        }
    }

    fn array_subquery(&self, query: &Query) -> Expr {
        let own = own(query);
        match is_correlated(query, &own) || own.has_function {
            true => self.parsed.empty_array.clone(),
            false => match aggregated(query, "array_agg") {
                Some(query) => Expr::Subquery(Box::new(query)),
                None => self.parsed.empty_array.clone(),
            },
        }
    }

    fn replaced(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::Collate { expr, .. } => Some(Expr::clone(expr)),
            Expr::Cast { expr: inner, data_type, .. } => self.cast(inner, data_type),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                array_of(right).map(|array| call("array_has", vec![array, Expr::clone(left)]))
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => array_of(right).map(|array| {
                let has = call("array_has", vec![array, Expr::clone(left)]);
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(has) }
            }),
            Expr::Function(function) => match &function.args {
                FunctionArguments::Subquery(query) if last(&function.name) == "array" => {
                    Some(self.array_subquery(query))
                }
                _ => None,
            },
            Expr::Subquery(query) => {
                let own = own(query);
                match (is_correlated(query, &own), own.has_function) {
                    (true, true) => Some(self.parsed.null.clone()),
                    (true, false) => self.scalar(query, &own),
                    (false, _) => None,
                }
            }
            _ => None,
        }
    }
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if schema(relation).as_deref() == Some("information_schema")
            && let Some(name) = information::rename(&last(relation))
        {
            *relation = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::with_quote('"', name)]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args, .. } = factor {
            if args.is_some() && schema(name).as_deref() == Some("pg_catalog") {
                *name = ObjectName::from(vec![Ident::new(last(name))]);
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
        // Before what is inside is visited: it may have to be thrown away whole.
        if matches!(expr, Expr::Subquery(_) | Expr::Function(_))
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
            Expr::BinaryOp { op, .. } => {
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
            Expr::Subquery(_) => {}
            other => {
                if let Some(replaced) = self.replaced(other) {
                    *other = replaced;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
