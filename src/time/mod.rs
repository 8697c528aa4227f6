//! Event time: when things happened, how far we have heard (watermark), and the stretches we answer
//! for (windows).
//!
//! All of it is integer arithmetic in the unit of the stream's time column (see [`EventTime`]);
//! nothing here reads a clock. Windows align to the Unix epoch, so times before 1970 need floor
//! division, which is the one place where `/` is wrong: see [`WindowSpec`].

mod slice;
mod units;
mod watermark;
mod window;

pub use slice::{Slice, SliceSpec};
pub use units::{
    DAY_MICROS, DAY_NANOS, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, YEAR_10000, micros_of_ticks,
    ticks_of_micros, ticks_of_millis, ticks_per_second,
};
pub use watermark::{EventTime, Watermark};
pub use window::{WINDOW_COLUMNS, Window, WindowKind, WindowSpec, Windows};
