//! Functions of doubles, and where they have no value (Postgres manual, 9.3).

use std::f64::consts::PI;

use crate::error::{Error, Result, SqlState};

type OfOne = fn(f64) -> Result<f64>;

/// Functions of one double.
pub(super) const OF_ONE: [(&str, OfOne); 26] = [
    ("acos", |x| within(x, -1.0, 1.0, f64::acos)),
    ("acosh", |x| within(x, 1.0, f64::INFINITY, f64::acosh)),
    ("asin", |x| within(x, -1.0, 1.0, f64::asin)),
    ("asinh", |x| Ok(x.asinh())),
    ("atan", |x| Ok(x.atan())),
    ("atanh", |x| within(x, -1.0, 1.0, f64::atanh)),
    ("cbrt", |x| Ok(x.cbrt())),
    ("ceil", |x| Ok(x.ceil())),
    ("cos", |x| finite(x, f64::cos)),
    ("cosh", |x| Ok(x.cosh())),
    ("cot", |x| finite(x, |x| 1.0 / x.tan())),
    ("degrees", |x| in_range(x / (PI / 180.0), x.is_infinite(), x == 0.0)),
    ("exp", exp),
    ("floor", |x| Ok(x.floor())),
    ("ln", |x| logarithm(x, f64::ln)),
    ("log10", |x| logarithm(x, f64::log10)),
    ("log2", |x| logarithm(x, f64::log2)),
    ("radians", |x| in_range(x * (PI / 180.0), x.is_infinite(), x == 0.0)),
    ("round", |x| Ok(x.round_ties_even())),
    ("sign", |x| Ok(if x > 0.0 { 1.0 } else { f64::from(-i8::from(x < 0.0)) })),
    ("sin", |x| finite(x, f64::sin)),
    ("sinh", |x| Ok(x.sinh())),
    ("sqrt", root),
    ("tan", |x| finite(x, f64::tan)),
    ("tanh", |x| Ok(x.tanh())),
    ("trunc", |x| Ok(x.trunc())),
];

fn out_of_domain() -> Error {
    Error::new(SqlState::OutOfRange, "input is out of range")
}

fn within(x: f64, least: f64, greatest: f64, of: fn(f64) -> f64) -> Result<f64> {
    if x < least || x > greatest { Err(out_of_domain()) } else { Ok(of(x)) }
}

fn finite(x: f64, of: fn(f64) -> f64) -> Result<f64> {
    if x.is_infinite() { Err(out_of_domain()) } else { Ok(of(x)) }
}

/// The result, unless it is infinite or zero where it may not be.
pub(crate) fn in_range(result: f64, may_be_infinite: bool, may_be_zero: bool) -> Result<f64> {
    let what = match result {
        result if result.is_infinite() && !may_be_infinite => "overflow",
        0.0 if !may_be_zero => "underflow",
        _ => return Ok(result),
    };
    Err(Error::new(SqlState::OutOfRange, format!("value out of range: {what}")))
}

fn exp(x: f64) -> Result<f64> {
    in_range(x.exp(), x.is_infinite(), x.is_infinite())
}

fn root(x: f64) -> Result<f64> {
    if x < 0.0 { Err(root_of_negative()) } else { Ok(x.sqrt()) }
}

pub(super) fn root_of_negative() -> Error {
    Error::new(SqlState::BadPowerArgument, "cannot take square root of a negative number")
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> Result<f64> {
    match x {
        0.0 => Err(log_of("zero")),
        x if x < 0.0 => Err(log_of("a negative number")),
        x => Ok(of(x)),
    }
}

pub(super) fn log_of(what: &str) -> Error {
    Error::new(SqlState::BadLogarithmArgument, format!("cannot take logarithm of {what}"))
}

pub(super) fn zero_to_negative() -> Error {
    let message = "zero raised to a negative power is undefined";
    Error::new(SqlState::BadPowerArgument, message)
}

pub(super) fn negative_to_fraction() -> Error {
    let message = "a negative number raised to a non-integer power yields a complex result";
    Error::new(SqlState::BadPowerArgument, message)
}

/// `base ^ exponent`. Rust's function knows what becomes of infinities and NaN, as C's does.
pub(super) fn power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(zero_to_negative());
    }
    if base < 0.0 && exponent.is_finite() && exponent.floor() != exponent {
        return Err(negative_to_fraction());
    }
    let has_no_end = base.is_infinite() || exponent.is_infinite();
    in_range(base.powf(exponent), has_no_end, has_no_end || base == 0.0)
}
