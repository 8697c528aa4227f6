//! Syntax tree to syntax tree: what Postgres writes and DataFusion's planner reads otherwise, or
//! not at all.
//!
//! | file | idea |
//! |---|---|
//! | [`naming`] | the names that Postgres gives to columns without one |
//! | [`numbers`] | the types of numbers as they are written |
//! | [`rows`] | rows that are compared, field by field |
//! | [`spellings`] | operators, functions and FROM items in DataFusion's spelling |
//! | [`casts`] | casts whose target says more than DataFusion keeps of it |
//! | [`scopes`] | which columns a name without a relation may mean |
//! | [`subqueries`] | EXISTS, IN and ARRAY as values |
//! | [`using`] | columns that become one in USING and NATURAL |

pub mod casts;
pub mod naming;
pub mod numbers;
pub mod rows;
pub mod spellings;
pub mod subqueries;
pub mod using;
pub mod scopes;
