//! Chains of operators that stand as functions: `a + b + c` is `checked_add(checked_add(a, b), c)`.
//!
//! DataFusion asks each link for its name and its type, and a link asks the one before it. Answered
//! link by link, the name of a chain of 500 would be written 500 times, and that whenever one of
//! them is asked; so whoever is asked goes along the chain once.

use datafusion::logical_expr::{Expr, ScalarUDF};

/// The operator that a function stands for, if it has two sides.
fn symbol(function: &ScalarUDF) -> Option<&'static str> {
    Some(match function.name() {
        "checked_add" => "+",
        "checked_sub" => "-",
        "checked_mul" | "numeric_mul" => "*",
        "checked_concat" => "||",
        "numeric_div" | "checked_div" => "/",
        "numeric_mod" => "%",
        _ => return None,
    })
}

/// The name of a column that an operator with these two sides computes.
pub(super) fn name(left: &Expr, operator: &'static str, right: &Expr) -> String {
    let (mut first, mut links) = (left, vec![(operator, right)]);
    while let Expr::ScalarFunction(call) = first
        && let (Some(operator), [left, right]) = (symbol(&call.func), call.args.as_slice())
    {
        links.push((operator, right));
        first = left;
    }
    let mut name = first.schema_name().to_string();
    for (operator, right) in links.into_iter().rev() {
        name.push_str(&format!(" {operator} {}", right.schema_name()));
    }
    name
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::super::arithmetic::call_of as call;

    #[test]
    fn a_chain_has_the_name_of_its_operators() {
        let sum = call("+", call("-", col("a"), lit(1)), call("*", col("b"), col("c")));
        assert_eq!(sum.schema_name().to_string(), "a - Int32(1) + b * c");
    }
}
