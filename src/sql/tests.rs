//! Tests over whole statements.
