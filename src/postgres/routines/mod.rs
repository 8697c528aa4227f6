//! The user's own functions in a query.
//!
//! A statement is planned with functions of these names that only know which of the user's functions
//! they stand for ([`called`]): that depends on the types of the arguments. When the plan's types are
//! settled, each such call is expanded:
//!
//! ```text
//!  f(a, b + 1)  ─types─▶ which f ─▶ its body, planned for these types ─┬─▶ the body in its place
//!                                                                      └─▶ one function, run whole
//! ```
//! The body takes the place of the call where that means the same and costs no more, so that the
//! optimizer sees through it; Postgres decides so by the same rule. Otherwise the call stays one
//! function (`sql_function`), which gets each argument once. Either way a view keeps no trace of
//! the function's name: what it does cannot change while a view uses it.
//!
//! | file | idea |
//! |---|---|
//! | [`called`] | the calls of a syntax tree, under names that can be planned |
//! | `resolve` | which of the functions of a name a call means |
//! | [`aggregate`] | an aggregate, put together from its functions |
//! | [`body`] | a function's expression, planned for arguments of certain types |
//! | `planned` | what is known of a planned body |
//! | `expand` | what takes the place of a call |
//! | `sql_function` | a body that is run as one function |

pub mod aggregate;
pub mod body;
pub mod called;
pub(crate) mod expand;
mod planned;
pub(crate) mod resolve;
pub(crate) mod sql_function;

pub use called::Routines;
