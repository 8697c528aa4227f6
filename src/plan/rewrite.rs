//! Rewrites of the operators of a plan that has not been analysed yet.
//!
//! They come before DataFusion coerces types, since the types of whatever stands above depend on their results: the
//! constants of [`integers`](super::integers), text constants beside a UUID, BYTEA or array, and the operators of [`numerics`](super::functions::numeric_operator).
//! Columns keep the names they had.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::{flatten, functions, integers};

/// Rewrites a plan.
pub fn rewrite_operators(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_changed = false;
    let rewritten = plan.transform_up_with_subqueries(|node| {
        // A node above one whose types have changed has them in its schema as well.
        let node = if is_changed { node.recompute_schema()? } else { node };
        let node = match &node {
            LogicalPlan::Join(join) => match flatten::flattened(join)? {
                Some(flat) => {
                    is_changed = true;
                    flat
                }
                None => node,
            },
            _ => node,
        };
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::Join(join) = &node {
            schema = join.schema.as_ref().clone();
        }
        let names = NamePreserver::new(&node);
        let rewritten = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.rewrite(&mut Operators { schema: &schema })?;
            Ok(match rewritten.transformed {
                true => rewritten.update_data(|expr| name.restore(expr)),
                false => rewritten,
            })
        })?;
        is_changed |= rewritten.transformed;
        match rewritten.transformed {
            true => rewritten.map_data(LogicalPlan::recompute_schema),
            false if is_changed => Ok(Transformed::yes(rewritten.data)),
            false => Ok(rewritten),
        }
    })?;
    Ok(rewritten.data)
}

fn typed(text: Box<Expr>, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(text, data_type))
}

struct Operators<'a> {
    schema: &'a DFSchema,
}

impl TreeNodeRewriter for Operators<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let binary = match expr {
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => return Ok(self.compared(binary)),
            Expr::BinaryExpr(binary) => binary,
            Expr::InList(list) => return Ok(self.listed(list)),
            other => return Ok(Transformed::no(other)),
        };
        let narrowed = integers::narrow_constants(binary, self.schema);
        Ok(narrowed.transform_data(|binary| Ok(self.numeric(binary)))?)
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// A text constant, which in Postgres has the type of what it is compared with.
fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _))
}

impl Operators<'_> {
    /// The type of an expression whose values arrow does not compare with text as Postgres would.
    fn strange_to_text(&self, expr: &Expr) -> Option<DataType> {
        let data_type = expr.get_type(self.schema).ok()?;
        let is_strange =
            matches!(data_type, DataType::FixedSizeBinary(16) | DataType::Binary | DataType::List(_));
        is_strange.then_some(data_type)
    }

    fn compared(&self, binary: BinaryExpr) -> Transformed<Expr> {
        let BinaryExpr { mut left, op, mut right } = binary;
        let wanted = match (is_untyped(&left), is_untyped(&right)) {
            (true, false) => self.strange_to_text(&right),
            (false, true) => self.strange_to_text(&left),
            _ => None,
        };
        let is_typed = wanted.is_some();
        if let Some(data_type) = wanted {
            let text = if is_untyped(&left) { &mut left } else { &mut right };
            *text = Box::new(typed(std::mem::take(text), data_type));
        }
        Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), is_typed)
    }

    fn listed(&self, mut list: InList) -> Transformed<Expr> {
        let wanted = match list.list.iter().any(is_untyped) {
            true => self.strange_to_text(&list.expr),
            false => None,
        };
        let Some(data_type) = wanted else {
            return Transformed::no(Expr::InList(list));
        };
        for item in list.list.iter_mut().filter(|item| is_untyped(item)) {
            *item = typed(Box::new(std::mem::take(item)), data_type.clone());
        }
        Transformed::yes(Expr::InList(list))
    }

    fn numeric(&self, binary: BinaryExpr) -> Transformed<Expr> {
        if !matches!(binary.op, Operator::Divide | Operator::Multiply | Operator::Modulo) {
            return Transformed::no(Expr::BinaryExpr(binary));
        }
        let types = (binary.left.get_type(self.schema), binary.right.get_type(self.schema));
        let (Ok(left), Ok(right)) = types else {
            return Transformed::no(Expr::BinaryExpr(binary));
        };
        match functions::numeric_operator(binary.op, &left, &right) {
            Some(function) => {
                Transformed::yes(functions::numeric_call(function, *binary.left, *binary.right))
            }
            None => Transformed::no(Expr::BinaryExpr(binary)),
        }
    }
}
