//! The types of parameters that DataFusion does not infer.

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

/// The types of parameters in `x = ANY($1)`: DataFusion makes `array_has($1, x)` of it and does not
/// ask what `$1` is.
pub fn arrays(plan: &LogicalPlan) -> HashMap<String, Option<DataType>> {
    let mut found = HashMap::new();
    // The visitor never fails.
    let _ = plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.func.name() == "array_has"
                    && let [Expr::Placeholder(place), element] = call.args.as_slice()
                    && let Ok(element) = element.get_type(&schema)
                {
                    found.insert(place.id.clone(), Some(DataType::new_list(element, true)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found
}
