//! Trigonometric functions in degrees (PostgreSQL manual, 9.3, table 9.7): `sind(30)` is 0.5, and not
//! one bit beside it.
//!
//! The angle is brought into the first quadrant, which is exact in degrees, and the values at 30, 45 and
//! 60 degrees are what the others are divided by, so that these come out as they are in mathematics.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::Float64Type;

use super::forms::{self, Form};
use crate::error::{Error, Result, SqlState};

pub(super) fn forms() -> Vec<Form> {
    macro_rules! of_one {
        ($($name:ident)*) => {
            vec![$(forms::over(
                concat!(stringify!($name), "(double) double"),
                |args, _| each(&args[0], $name),
            )),*]
        };
    }
    let mut all = of_one!(sind cosd tand cotd asind acosd atand);
    all.push(forms::over("atan2d(double, double) double", atan2d));
    all
}

fn each(angles: &ArrayRef, of: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values: Float64Array =
        try_unary::<_, _, Float64Type>(angles.as_primitive::<Float64Type>(), |value| {
            if value.is_nan() { Ok(value) } else { of(value).map_err(Into::into) }
        })?;
    Ok(Arc::new(values))
}

fn out_of_range() -> Error {
    Error::new(SqlState::OutOfRange, "input is out of range")
}

/// An angle in the first quadrant, and on which side of the two axes it was.
struct Quadrant {
    angle: f64,
    /// Below the horizontal axis.
    is_below: bool,
    /// Left of the vertical one.
    is_left: bool,
}

impl Quadrant {
    fn of(angle: f64) -> Result<Quadrant> {
        if angle.is_infinite() {
            return Err(out_of_range());
        }
        let (mut angle, mut is_below) = (angle % 360.0, false);
        if angle < 0.0 {
            (angle, is_below) = (-angle, true);
        }
        if angle > 180.0 {
            (angle, is_below) = (360.0 - angle, !is_below);
        }
        let is_left = angle > 90.0;
        Ok(Quadrant { angle: if is_left { 180.0 - angle } else { angle }, is_below, is_left })
    }
}

fn signed(value: f64, is_negative: bool) -> f64 {
    // No zero is negative.
    if is_negative && value != 0.0 { -value } else { value }
}

/// Up to 30 degrees.
fn small_sine(angle: f64) -> f64 {
    angle.to_radians().sin() / 30_f64.to_radians().sin() / 2.0
}

/// Up to 60 degrees.
fn small_cosine(angle: f64) -> f64 {
    1.0 - (1.0 - angle.to_radians().cos()) / (1.0 - 60_f64.to_radians().cos()) / 2.0
}

fn sine(angle: f64) -> f64 {
    if angle <= 30.0 { small_sine(angle) } else { small_cosine(90.0 - angle) }
}

fn cosine(angle: f64) -> f64 {
    if angle <= 60.0 { small_cosine(angle) } else { small_sine(90.0 - angle) }
}

fn sind(angle: f64) -> Result<f64> {
    let quadrant = Quadrant::of(angle)?;
    Ok(signed(sine(quadrant.angle), quadrant.is_below))
}

fn cosd(angle: f64) -> Result<f64> {
    let quadrant = Quadrant::of(angle)?;
    Ok(signed(cosine(quadrant.angle), quadrant.is_left))
}

fn tand(angle: f64) -> Result<f64> {
    let Quadrant { angle, is_below, is_left } = Quadrant::of(angle)?;
    let tangent = sine(angle) / cosine(angle) / (sine(45.0) / cosine(45.0));
    Ok(signed(tangent, is_below != is_left))
}

fn cotd(angle: f64) -> Result<f64> {
    let Quadrant { angle, is_below, is_left } = Quadrant::of(angle)?;
    let cotangent = cosine(angle) / sine(angle) / (cosine(45.0) / sine(45.0));
    Ok(signed(cotangent, is_below != is_left))
}

/// Of 0 to 1.
fn arcsine(value: f64) -> f64 {
    if value <= 0.5 {
        value.asin() / 0.5_f64.asin() * 30.0
    } else {
        90.0 - value.acos() / 0.5_f64.acos() * 60.0
    }
}

/// Of 0 to 1.
fn arccosine(value: f64) -> f64 {
    if value <= 0.5 {
        90.0 - value.asin() / 0.5_f64.asin() * 30.0
    } else {
        value.acos() / 0.5_f64.acos() * 60.0
    }
}

fn asind(value: f64) -> Result<f64> {
    match value {
        0.0..=1.0 => Ok(arcsine(value)),
        -1.0..0.0 => Ok(-arcsine(-value)),
        _ => Err(out_of_range()),
    }
}

fn acosd(value: f64) -> Result<f64> {
    match value {
        0.0..=1.0 => Ok(arccosine(value)),
        -1.0..0.0 => Ok(90.0 + arcsine(-value)),
        _ => Err(out_of_range()),
    }
}

fn atand(value: f64) -> Result<f64> {
    Ok(value.atan() / 1_f64.atan() * 45.0)
}

fn atan2d(args: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let [y, x] = [&args[0], &args[1]].map(|array| array.as_primitive::<Float64Type>());
    let angle = |y: f64, x: f64| Ok(y.atan2(x) / 1_f64.atan() * 45.0);
    let angles: Float64Array = try_binary(y, x, angle)?;
    Ok(Arc::new(angles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_that_are_known_are_exact() {
        let check = |of: fn(f64) -> Result<f64>, pairs: &[(f64, f64)]| {
            for (angle, expect) in pairs {
                assert_eq!(of(*angle).unwrap(), *expect, "of {angle}");
            }
        };
        check(
            sind,
            &[
                (0.0, 0.0),
                (30.0, 0.5),
                (90.0, 1.0),
                (150.0, 0.5),
                (-30.0, -0.5),
                (270.0, -1.0),
                (390.0, 0.5),
            ],
        );
        check(
            cosd,
            &[(0.0, 1.0), (60.0, 0.5), (90.0, 0.0), (120.0, -0.5), (180.0, -1.0), (-60.0, 0.5)],
        );
        check(tand, &[(0.0, 0.0), (45.0, 1.0), (135.0, -1.0), (-45.0, -1.0), (180.0, 0.0)]);
        check(cotd, &[(45.0, 1.0), (90.0, 0.0), (135.0, -1.0)]);
        check(asind, &[(0.5, 30.0), (1.0, 90.0), (-0.5, -30.0)]);
        check(acosd, &[(0.5, 60.0), (0.0, 90.0), (-0.5, 120.0), (1.0, 0.0)]);
        check(atand, &[(1.0, 45.0), (-1.0, -45.0)]);
        assert_eq!(tand(90.0).unwrap(), f64::INFINITY);
        for of in [sind, cosd, tand, cotd] {
            assert_eq!(of(f64::INFINITY).unwrap_err().state(), SqlState::OutOfRange);
        }
        assert_eq!(asind(1.1).unwrap_err().state(), SqlState::OutOfRange);
    }
}
