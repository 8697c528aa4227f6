//! Operators that are called by the names of their functions.

use super::forms::{Form, ok, strict};

pub(super) fn forms() -> Vec<Form> {
    vec![
        strict("booleq(bool, bool) bool", |a| ok(a.truth(0) == a.truth(1))),
        strict("boolne(bool, bool) bool", |a| ok(a.truth(0) != a.truth(1))),
    ]
}
