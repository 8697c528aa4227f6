//! SQL as Postgres means it, on DataFusion.
//!
//! A statement passes through here twice: its syntax tree before DataFusion plans it ([`syntax`]),
//! and the plan that DataFusion made ([`coercion`]). What Postgres has and DataFusion lacks is in
//! [`functions`].
//!
//! | file | idea |
//! |---|---|
//! | [`syntax`] | syntax tree to syntax tree: names, spellings, casts, subqueries |
//! | [`coercion`] | plan to plan: which types meet, which subqueries become joins |
//! | [`functions`] | scalar and aggregate functions |
//! | [`routines`] | the functions that the user has made |
//! | `compiled` | an expression that is evaluated outside of a plan |
//! | `subplan` | a subquery that is run for each set of outer values |
//! | [`budget`] | what planning a statement may cost, and whether anyone still waits for it |
//! | `by_name`, `carried` | what DataFusion asks of functions, and of what its options carry |
//! | `checked` | the rules of DataFusion's planner look whether anyone does |
//! | [`conditions`] | what WHERE throws away fails no statement |
//! | [`guard`] | a running query can be stopped, and gives way to others |
//! | `lateral` | subqueries in FROM that read what stands beside them |
//! | `lazy` | AND and OR that ask no more than they must |
//! | [`light`] | which queries compute little |
//! | `grouping_sets` | how many a SELECT may ask for |
//! | `distinct_counts` | `count(DISTINCT x)` counts groups |
//! | `outer` | which columns a subquery reads of the queries around it |
//! | `set_operations` | EXCEPT ALL and INTERSECT ALL count |
//! | `portions` | constants are written into few rows at a time |
//! | `piecewise` | expressions that make much of little, over as many rows as fit |
//! | `room` | how much the functions of an operator may make together |
//! | `unnesting` | arrays are taken apart a part at a time |
//!
//! Nothing of streams is here, and it imports nothing of `plan` or `exec`.

pub mod budget;
pub(crate) mod by_name;
mod carried;
pub(crate) mod checked;
pub mod coercion;
pub(crate) mod compiled;
pub mod conditions;
mod distinct_counts;
pub mod functions;
mod grouping_sets;
pub mod guard;
pub(crate) mod lateral;
mod lazy;
pub mod light;
pub(crate) mod outer;
mod piecewise;
mod portions;
mod room;
pub mod routines;
pub mod set_operations;
pub(crate) mod subplan;
pub mod syntax;
mod unnesting;
