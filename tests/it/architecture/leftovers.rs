//! What the house rules still find, each to be mended: a list that may only become shorter.
//!
//! The tests hold what they find against these lists, so what is new fails, and so does what is
//! mended and still listed.

/// Circles of files: each pair is one recursion inside one subject, and stays.
pub const CIRCLES: &[&[&str]] = &[
    &["pgtypes/values/build.rs", "pgtypes/values/nested_in.rs"],
    &["pgtypes/values/datetime_in.rs", "pgtypes/values/datetime_words.rs"],
    &["pgtypes/values/encode.rs", "pgtypes/values/nested_out.rs"],
];

/// Files with a queue that has no bound in itself: changes for subscribers are counted in bytes
/// before they are put in.
pub const QUEUES: &[&str] = &["exec/view/handle.rs"];
