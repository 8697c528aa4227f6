//! Chains of operators that stand as functions: `a + b + c` is `checked_add(checked_add(a, b), c)`.
//!
//! DataFusion asks each link for its name and its type, and a link asks the one before it. Answered
//! link by link, the name of a chain of 500 would be written 500 times, and that whenever one of
//! them is asked; so whoever is asked goes along the chain once.

use datafusion::logical_expr::Expr;

/// The operator that a function of this name stands for, if it has two sides.
pub(super) fn symbol(function: &str) -> Option<&'static str> {
    Some(match function {
        "checked_add" | "time_plus" => "+",
        "checked_sub" | "time_minus" => "-",
        "checked_mul" | "numeric_mul" | "time_times" => "*",
        "checked_concat" => "||",
        "numeric_div" | "checked_div" | "time_divided" => "/",
        "numeric_mod" => "%",
        _ => return None,
    })
}

/// The name of a column that an operator with these two sides computes.
pub(super) fn name(left: &Expr, operator: &'static str, right: &Expr) -> String {
    let (mut first, mut links) = (left, vec![(operator, right)]);
    while let Expr::ScalarFunction(call) = first
        && let (Some(operator), [left, right]) = (symbol(call.func.name()), call.args.as_slice())
    {
        links.push((operator, right));
        first = left;
    }
    let mut name = first.schema_name().to_string();
    for (operator, right) in links.into_iter().rev() {
        let right = match right {
            // Of numbers the names are those that DataFusion gives, which tell less.
            Expr::ScalarFunction(call) if call.func.name().starts_with("time_") => {
                format!("({})", right.schema_name())
            }
            _ => right.schema_name().to_string(),
        };
        name.push_str(&format!(" {operator} {right}"));
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
