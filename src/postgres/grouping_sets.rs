//! How many grouping sets a SELECT may ask for: CUBE of 16 columns asks for 65,536.
//!
//! The limits and the words are Postgres' (`parse_agg.c`; manual, 7.2.4). Each set is a copy of the
//! keys of every row, so the rows come to such an aggregate in [portions](super::portions).

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select};

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// Refuses a SELECT with too many.
pub fn check_grouping_sets(select: &Select) -> Result<()> {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return Ok(()) };
    let mut sets: usize = 1;
    for expr in exprs {
        // Sets beside each other are combined, each with each.
        sets = sets.saturating_mul(match expr {
            Expr::Cube(elements) if elements.len() > limits::CUBE_ELEMENTS => {
                return Err(Error::new(
                    SqlState::TooManyColumns,
                    format!("CUBE is limited to {} elements", limits::CUBE_ELEMENTS),
                )
                .hint("List the sets that are wanted with GROUPING SETS."));
            }
            Expr::Cube(elements) => 1 << elements.len(),
            Expr::Rollup(elements) => elements.len() + 1,
            Expr::GroupingSets(sets) => sets.len(),
            _ => 1,
        });
    }
    if sets > limits::GROUPING_SETS {
        return Err(Error::new(
            SqlState::TooComplex,
            format!("too many grouping sets present (maximum {})", limits::GROUPING_SETS),
        ));
    }
    Ok(())
}
