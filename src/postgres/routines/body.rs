//! A function's expression, planned for arguments of certain types.
//!
//! It is planned like a column of a query over one relation, whose columns are the arguments, so
//! that everything means in a function what it means in a query. Its result is assigned to the type
//! that the function returns.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Volatility,
};
use datafusion::sql::sqlparser::ast::{self, Ident, Value, VisitorMut};

use super::called::Routines;
use super::planned::{PlannedBody, WholeBody, parameter_name, parameters};
use super::sql_function::{SqlFunction, body_of};
use crate::catalog::{FunctionDef, RelationId, Routine, RoutineKind};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::postgres::coercion::rewrite::rewrite_operators;
use crate::postgres::compiled::compiled;
use crate::postgres::functions::can_explode;
use crate::postgres::piecewise::is_match;
use crate::postgres::syntax::numbers::type_numbers;
use crate::postgres::syntax::spellings::rewrite_spellings;
use crate::sql::{self, ident_name, visit_mut};
use crate::types::SqlType;
use crate::types::assignment::is_assignable;

/// Plans a function's expression over arguments of these fields; `state` knows no functions of the
/// user's, `routines` are those that it may call.
///
/// # Errors
/// As in a query; 42P13 if the result is not of the type that the function returns, 0A000 for what
/// is not computed from one row, 54001 if it is too large.
pub fn plan(
    routine: &Routine,
    fields: &[FieldRef],
    state: &SessionState,
    routines: &Routines,
) -> Result<PlannedBody> {
    let RoutineKind::Function(def) = &routine.kind else {
        return Err(Error::internal(format!("{} has no body", routine.name)));
    };
    let schema = DFSchema::from_unqualified_fields(fields.to_vec().into(), HashMap::new())?;
    let place = BodyPlace { routine, state, routines, schema: Arc::new(schema) };
    let (expr, field) = place.returned(def)?;
    let nodes = nodes(&expr)?;
    if nodes > limits::FUNCTION_NODES {
        let what = format!("function {} is too large", routine.signature());
        return Err(Error::new(SqlState::TooComplex, what).hint(format!(
            "With the functions that it calls it has {nodes} operators and calls; {} are allowed.",
            limits::FUNCTION_NODES
        )));
    }
    let whole = place.whole(&expr, &field, def.strict, nodes)?;
    Ok(PlannedBody {
        uses: uses(&expr, fields.len())?,
        nodes,
        strict: def.strict && !fields.is_empty(),
        depends_on: routines.used(),
        whole,
        expr,
        field,
    })
}

/// Plans the function for arguments of the types that it declares; gives the functions that it calls.
///
/// # Errors
/// Those of [`plan`].
pub fn check(
    routine: &Routine,
    state: &SessionState,
    routines: &Routines,
) -> Result<Vec<RelationId>> {
    let fields = parameters(routine, &[]);
    Ok(plan(routine, &fields, state, &routines.within(routine.id)?)?.depends_on)
}

/// Where a body is planned.
struct BodyPlace<'a> {
    routine: &'a Routine,
    state: &'a SessionState,
    routines: &'a Routines,
    schema: DFSchemaRef,
}

impl BodyPlace<'_> {
    /// The expression as it is returned, and its field.
    fn returned(&self, def: &FunctionDef) -> Result<(Expr, FieldRef)> {
        let returns = &self.routine.returns;
        let (expr, field) = self.planned(&def.expr)?;
        let from = SqlType::from_field(&field);
        let is_untyped = matches!(expr, Expr::Literal(ScalarValue::Utf8(_), _));
        if !is_untyped && !is_assignable(&from, field.data_type(), returns) {
            let what = format!("return type mismatch in function declared to return {returns}");
            return Err(Error::new(SqlState::InvalidFunctionDefinition, what)
                .detail(format!("Actual return type is {from}."))
                .hint("Cast the expression, or change the type after RETURNS."));
        }
        match returns {
            // As many digits as it has.
            SqlType::Decimal(_) if field.data_type().is_decimal() => {
                let field = Field::new("", field.data_type().clone(), true);
                return Ok((expr, Arc::new(field)));
            }
            _ if *field.data_type() == returns.data_type() && !is_json(returns) => {
                return Ok((expr, Arc::new(returns.to_field("", true))));
            }
            _ => {}
        }
        let text = format!("CAST(({}) AS {})", def.expr, returns.in_cast());
        let (expr, field) = self.planned(&text)?;
        let wanted = returns.to_field("", true);
        let cast =
            || Cast::new_from_field(Box::new(expr.clone()), Arc::new(returns.to_cast_field()));
        let expr = if *field.data_type() != *wanted.data_type() || is_json(returns) {
            Expr::Cast(cast())
        } else {
            expr
        };
        Ok((expr, Arc::new(wanted)))
    }

    /// Plans an expression over the arguments.
    fn planned(&self, text: &str) -> Result<(Expr, FieldRef)> {
        let mut expr = sql::parse_expr(text)?;
        with_parameters(&mut expr, self.routine)?;
        let own = self.routines.in_state(&mut expr, self.state)?;
        let state = own.as_ref().unwrap_or(self.state);
        rewrite_spellings(&mut expr)?;
        type_numbers(&mut expr);
        let expr = ast::ExprWithAlias { expr, alias: None };
        let expr = state.create_logical_expr_from_sql_expr(expr, &self.schema);
        let expr = expr.map_err(|error| self.by_names(error.into()))?;
        refuse_rows(&expr)?;
        let schema = Arc::clone(&self.schema);
        let input = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
        let plan = LogicalPlanBuilder::from(input).project(vec![expr])?.build()?;
        let plan = rewrite_operators(plan, state)?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        let LogicalPlan::Projection(projection) = plan else {
            return Err(Error::internal("a projection has become something else"));
        };
        let field = Arc::clone(projection.schema.field(0));
        let expr = projection.expr.into_iter().next();
        let expr = expr.ok_or_else(|| Error::internal("an expression is lost"))?;
        Ok((expr.unalias_nested().data, field))
    }

    /// An error about a column, which is called after its place, with the names that the user knows.
    fn by_names(&self, error: Error) -> Error {
        let names: Vec<&str> =
            self.routine.arguments.iter().filter_map(|a| a.name.as_deref()).collect();
        if error.state() != SqlState::UndefinedColumn || names.is_empty() {
            return error;
        }
        error.hint(format!("The arguments are: {}.", names.join(", ")))
    }

    /// The expression as one function of the arguments.
    fn whole(
        &self,
        expr: &Expr,
        field: &FieldRef,
        strict: bool,
        nodes: usize,
    ) -> Result<Option<WholeBody>> {
        let (expr, extra) = without_moments(expr)?;
        if expr.exists(|part| Ok(is_unstable(part)))? {
            return Ok(None);
        }
        let mut fields = self.schema.fields().to_vec();
        for (extra, name) in &extra {
            let field = extra.to_field(&self.schema)?.1;
            fields.push(Arc::new(field.as_ref().clone().with_name(name)));
        }
        let schema = DFSchema::from_unqualified_fields(fields.clone().into(), HashMap::new())?;
        let explodes = may_explode(&expr)?;
        let physical = compiled(expr, &Arc::new(schema), self.state)?;
        let (id, name) = (self.routine.id, &self.routine.name);
        let mut function = SqlFunction::new(id, name, fields, Arc::clone(field), physical);
        function.arguments = self.schema.fields().len();
        function.strict = strict && function.arguments > 0;
        function.nodes = nodes;
        function.explodes = explodes;
        let extra = extra.into_iter().map(|(expr, _)| expr).collect();
        Ok(Some(WholeBody { function: Arc::new(ScalarUDF::from(function)), extra }))
    }
}

fn is_json(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Json | SqlType::Jsonb)
}

/// The parameters, by their names and as $n, become columns.
fn with_parameters(expr: &mut ast::Expr, routine: &Routine) -> Result<()> {
    struct Parameters<'a>(&'a Routine);
    impl Parameters<'_> {
        fn named(&self, name: &Ident) -> Option<usize> {
            let name = ident_name(name);
            self.0.arguments.iter().position(|a| a.name.as_ref() == Some(&name))
        }

        fn at(&self, expr: &ast::Expr) -> Result<Option<usize>> {
            Ok(match expr {
                ast::Expr::Identifier(name) => self.named(name),
                ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [function, name] if ident_name(function) == self.0.name => self.named(name),
                    _ => None,
                },
                ast::Expr::Value(value) => match &value.value {
                    Value::Placeholder(number) => Some(self.numbered(number)?),
                    _ => None,
                },
                _ => None,
            })
        }

        fn numbered(&self, number: &str) -> Result<usize> {
            let at = number.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
            at.and_then(|n| n.checked_sub(1)).filter(|at| *at < self.0.arguments.len()).ok_or_else(
                || {
                    let what = format!("there is no parameter {number}");
                    Error::new(SqlState::UndefinedParameter, what)
                },
            )
        }
    }
    impl VisitorMut for Parameters<'_> {
        type Break = Error;
        fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
            ControlFlow::Break(no_rows("a subquery"))
        }
        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
            match self.at(expr) {
                Ok(None) => {}
                Ok(Some(at)) => {
                    let name = Ident::with_quote('"', parameter_name(at));
                    *expr = ast::Expr::Identifier(name);
                }
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        }
    }
    match visit_mut(expr, &mut Parameters(routine)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn no_rows(what: &str) -> Error {
    Error::unsupported(format!("{what} in a function is not supported"))
        .hint("A function is one expression over its arguments; make a view of what reads tables.")
}

/// A function computes with one row.
fn refuse_rows(expr: &Expr) -> Result<()> {
    let mut found = None;
    expr.apply(|part| {
        found = match part {
            Expr::AggregateFunction(_) => Some("an aggregate"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::Unnest(_) => Some("a set of rows"),
            _ => found,
        };
        Ok(TreeNodeRecursion::Continue)
    })?;
    found.map_or(Ok(()), |what| Err(no_rows(what)))
}

/// How many operators and calls there are, with those of functions of the user's.
fn nodes(expr: &Expr) -> Result<usize> {
    let mut nodes = 0_usize;
    expr.apply(|part| {
        let inner = match part {
            Expr::ScalarFunction(call) => body_of(&call.func).map_or(1, |body| body.nodes),
            _ => 1,
        };
        nodes = nodes.saturating_add(inner);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(nodes)
}

fn uses(expr: &Expr, arguments: usize) -> Result<Vec<usize>> {
    let names: Vec<String> = (0..arguments).map(parameter_name).collect();
    let mut uses = vec![0; arguments];
    expr.apply(|part| {
        if let Expr::Column(column) = part
            && let Some(at) = names.iter().position(|name| *name == column.name)
        {
            uses[at] += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(uses)
}

/// A call that may give something else each time.
fn is_unstable(part: &Expr) -> bool {
    matches!(part, Expr::ScalarFunction(call)
        if call.func.signature().volatility != Volatility::Immutable)
}

fn extra_name(at: usize) -> String {
    format!("$extra{}", at + 1)
}

/// The expression with a column in the place of each call of a function that is not immutable and
/// reads no argument, and these calls with the names of the columns.
fn without_moments(expr: &Expr) -> Result<(Expr, Vec<(Expr, String)>)> {
    let mut extra: Vec<(Expr, String)> = Vec::new();
    let rewritten = expr.clone().transform_down(|part| {
        let reads = part.exists(|inner| Ok(matches!(inner, Expr::Column(_))))?;
        if !is_unstable(&part) || reads {
            return Ok(Transformed::no(part));
        }
        let name = extra_name(extra.len());
        let column = Expr::Column(Column::new_unqualified(&name));
        extra.push((part, name));
        Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
    })?;
    Ok((rewritten.data, extra))
}

/// Whether it calls what may make much of little.
fn may_explode(expr: &Expr) -> Result<bool> {
    Ok(expr.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => {
                can_explode(&call.func) || call.func.name().starts_with("regexp_")
            }
            Expr::BinaryExpr(binary) => {
                is_match(binary.op) && !matches!(*binary.right, Expr::Literal(..))
            }
            _ => false,
        })
    })?)
}
