//! Sessions on an engine in memory.
