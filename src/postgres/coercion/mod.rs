//! Plan to plan: operators over Postgres's types, and subqueries as joins where that is right.
//!
//! | file | idea |
//! |---|---|
//! | [`rewrite`] | operators by the types of both sides, after DataFusion has resolved them |
//! | `arrays` | operators between arrays |
//! | `asof` | ASOF JOIN as rows of both sides in the order of time |
//! | [`binary`] | which types of operands DataFusion's own coercion would get wrong |
//! | `castable` | which types can be cast to which |
//! | `combined` | the sides of UNION, INTERSECT and EXCEPT have the same types |
//! | `comparable` | what is compared as something else |
//! | `decimals` | numerics for which DataFusion finds no type together |
//! | `documents` | operators on JSON |
//! | `floats` | where doubles and numerics meet, dates and timestamps |
//! | `held` | conditions that stay above an aggregate which always has a row |
//! | [`intervals`] | 1 day and 24 hours are one key |
//! | `order_keys` | what ORDER BY goes by for JSONB and arrays |
//! | `ordered` | ORDER BY in an aggregate that has no order |
//! | `flatten` | long chains of one operator, without depth |
//! | `texts` | TEXT, VARCHAR and CHAR beside each other |
//! | `recursive` | the two parts of WITH RECURSIVE |
//! | `projected` | some columns of a plan as something else |
//! | `single_row` | a subquery for one value fails on a second row |
//! | `joinable`, `correlated` | which correlated subqueries are joins; the others run for each row |
//! | [`missing`] | a name that is not there, in Postgres's words |

pub(crate) mod arrays;
mod asof;
pub mod binary;
mod castable;
mod combined;
mod comparable;
mod correlated;
mod decimals;
mod documents;
mod flatten;
mod floats;
pub(crate) mod held;
pub mod intervals;
pub(crate) mod joinable;
pub mod missing;
mod order_keys;
mod ordered;
mod projected;
mod recursive;
pub mod rewrite;
mod single_row;
pub(crate) mod texts;
