//! UNION ALL: the rows of all ports; the executor gives them the names of the first.

use super::operator::{Operator, PassedOn};
use crate::error::Result;
use crate::state::Delta;

/// Passes on what comes; keeps nothing.
pub struct Union;

impl Operator for Union {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        Ok(Box::new(std::iter::once(Ok(delta.clone()))))
    }
}
