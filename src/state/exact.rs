//! Sums of doubles that are exact until they are asked for: no order, no grouping and no deletion
//! shows in the result.
//!
//! An [`ExactSum`] is a few doubles whose sum is the total (an *expansion*). A value goes through
//! them with an error-free addition each, `a + b = s + e`, the error going on to the next:
//!
//! ```text
//! value ─▶ [ t0 ] ─error─▶ [ t1 ] ─error─▶ 0          nothing was lost: that is nearly always so
//!                                     └──▶ not 0      goes into the fixed-point number beside them
//! ```
//!
//! What the last one cannot hold goes into a `FixedPoint` as wide as the range of a double, which
//! holds every sum of up to 2^63 of them. It is made when first needed, and also counts NaN and the
//! infinities, so that these can be taken back. The total is rounded once, to the nearest double,
//! ties to even.
//!
//! Sources: Knuth, TAOCP 2, 4.2.2 (the error-free addition); Shewchuk, "Adaptive precision
//! floating-point arithmetic", 1997 (expansions); Kulisch, "Computer arithmetic and validity", 2008
//! (the fixed-point accumulator); Neal, "Fast exact summation using small and large
//! superaccumulators", 2015.

use super::fixed_point::FixedPoint;

/// Expansions that a sum of many values goes through side by side.
const LANES: usize = 4;

/// The sum of any doubles, exact. `N` doubles serve without a `FixedPoint` as long as all bits of
/// the total lie within about `N · 53`.
#[derive(Clone, Debug)]
pub struct ExactSum<const N: usize> {
    terms: [f64; N],
    rest: Option<Box<FixedPoint>>,
}

impl<const N: usize> Default for ExactSum<N> {
    fn default() -> Self {
        ExactSum { terms: [0.0; N], rest: None }
    }
}

/// `a + b` rounded, and what the rounding took away. If the sum is not finite, the error is NaN.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// `a · b` rounded, and what the rounding took away, exact but below about 1e-290.
#[inline(always)]
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl<const N: usize> ExactSum<N> {
    /// Adds a value; says how many bytes of the heap that took.
    #[inline(always)]
    pub fn add(&mut self, value: f64) -> usize {
        self.step(value, 1)
    }

    /// Takes a value out again that was added.
    #[inline(always)]
    pub fn take(&mut self, value: f64) -> usize {
        self.step(value, -1)
    }

    /// Adds a value as many times as that; a negative number takes it out.
    #[inline]
    pub fn add_times(&mut self, value: f64, times: i64) -> usize {
        match times {
            1 | -1 => self.step(value, times),
            _ => {
                let before = self.heap();
                self.rest.get_or_insert_default().add_times(value, times);
                self.heap() - before
            }
        }
    }

    /// Adds values in several independent expansions at once, so that none has to wait for the one
    /// before.
    pub fn add_all(&mut self, mut values: impl Iterator<Item = f64>) -> usize {
        let (mut terms, mut heap) = ([[0.0; LANES]; N], 0);
        loop {
            let (mut next, mut count) = ([0.0; LANES], 0);
            for (to, value) in next.iter_mut().zip(&mut values) {
                (*to, count) = (value, count + 1);
            }
            let (mut carry, mut sums) = (next, terms);
            for term in &mut sums {
                for lane in 0..LANES {
                    (term[lane], carry[lane]) = two_sum(term[lane], carry[lane]);
                }
            }
            if carry == [0.0; LANES] {
                terms = sums;
            } else {
                next.iter().for_each(|&value| heap += self.add(value));
            }
            if count < LANES {
                break;
            }
        }
        terms.iter().flatten().for_each(|&term| heap += self.add(term));
        heap
    }

    /// `times` is 1 or −1.
    #[inline(always)]
    fn step(&mut self, value: f64, times: i64) -> usize {
        let mut carry = if times < 0 { -value } else { value };
        let mut terms = self.terms;
        let (last, others) = (terms[N - 1], &mut terms[..N - 1]);
        for term in others {
            (*term, carry) = two_sum(*term, carry);
        }
        // The same as an error of zero, for less work. NaN, infinities and overflows are equal to
        // nothing.
        let sum = last + carry;
        let of_carry = sum - last;
        if of_carry == carry && sum - of_carry == last {
            terms[N - 1] = sum;
            self.terms = terms;
            return 0;
        }
        (terms[N - 1], carry) = two_sum(last, carry);
        self.spill(value, times, terms, carry)
    }

    #[cold]
    #[inline(never)]
    fn spill(&mut self, value: f64, times: i64, terms: [f64; N], carry: f64) -> usize {
        let before = self.heap();
        let rest = self.rest.get_or_insert_default();
        if carry.is_finite() {
            self.terms = terms;
            rest.add_times(carry, 1);
        } else {
            rest.add_times(value, times);
        }
        self.heap() - before
    }

    /// Adds a product; exact but below about 1e-290, where what is added still follows from the
    /// factors alone.
    #[inline]
    pub fn add_product(&mut self, a: f64, b: f64, times: i64) -> usize {
        let (product, error) = two_product(a, b);
        if product.is_finite() {
            return self.add_times(product, times) + self.add_times(error, times);
        }
        self.add_times(product, times)
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        other.terms.iter().for_each(|&term| _ = self.add(term));
        if let Some(rest) = &other.rest {
            self.rest.get_or_insert_default().add(rest);
        }
    }

    /// Takes out another sum, of values that were added to this one.
    pub fn subtract(&mut self, other: &Self) {
        other.terms.iter().for_each(|&term| _ = self.take(term));
        if let Some(rest) = &other.rest {
            self.rest.get_or_insert_default().subtract(rest);
        }
    }

    fn fixed(&self) -> FixedPoint {
        let mut fixed = self.rest.as_deref().cloned().unwrap_or_default();
        self.terms.iter().for_each(|&term| fixed.add_times(term, 1));
        fixed
    }

    /// The total, rounded to the nearest double. Beyond the largest double it is an infinity.
    pub fn value(&self) -> f64 {
        match (&self.rest, self.terms.as_slice()) {
            // A total of zero is +0, whatever zeros went in.
            (None, &[high, low]) => high + low + 0.0,
            _ => self.fixed().value(),
        }
    }

    /// The total, rounded to the nearest single-precision number.
    pub fn single(&self) -> f32 {
        let (high, low) = match (&self.rest, self.terms.as_slice()) {
            (None, &[high, low]) => two_sum(high, low),
            _ => {
                let mut fixed = self.fixed();
                let high = fixed.value();
                fixed.add_times(high, -1);
                (high, fixed.value())
            }
        };
        // Rounding twice may go wrong at the middle between two; an odd last bit remembers that
        // there was more.
        let is_even = high.to_bits() & 1 == 0;
        if low != 0.0 && is_even && high.is_finite() && low.is_finite() {
            let away = (low > 0.0) == (high > 0.0);
            let bits = if away { high.to_bits() + 1 } else { high.to_bits() - 1 };
            return f64::from_bits(bits) as f32;
        }
        (high + 0.0) as f32
    }

    /// Whether NaN or an infinity is in it, as opposed to a total beyond the largest double.
    pub fn has_special(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.special() != 0.0)
    }

    /// The total as doubles of falling size that do not overlap: the same for the same total,
    /// however it came about. A total that is no number is one term.
    pub fn parts(&self) -> Vec<f64> {
        let mut fixed = self.fixed();
        let mut parts = Vec::with_capacity(N);
        loop {
            let part = fixed.value();
            if part == 0.0 {
                return parts;
            }
            parts.push(part);
            if !part.is_finite() {
                return parts;
            }
            fixed.add_times(part, -1);
        }
    }

    /// Bytes held on the heap.
    pub fn heap(&self) -> usize {
        if self.rest.is_some() { size_of::<FixedPoint>() } else { 0 }
    }

    /// Appends the state to a column's value: the terms that are not zero, or the fixed-point
    /// number without the words that say nothing. The two are told apart by their length.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.rest.is_some() {
            return self.fixed().write(out);
        }
        let terms = self.terms.iter().filter(|&&term| term != 0.0);
        terms.for_each(|term| out.extend_from_slice(&term.to_le_bytes()));
    }

    /// Reads what [`write`](Self::write) wrote; `None` if that is something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut sum = Self::default();
        if bytes.len() % 8 == 1 {
            sum.rest = Some(Box::new(FixedPoint::read(bytes)?));
            return Some(sum);
        }
        let (terms, more) = bytes.as_chunks::<8>();
        if terms.len() > N || !more.is_empty() {
            return None;
        }
        for (to, term) in sum.terms.iter_mut().zip(terms) {
            *to = f64::from_le_bytes(*term);
        }
        sum.terms.iter().all(|term| term.is_finite()).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers that are the same in every run.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, end: usize) -> usize {
            (self.next() % end as u64) as usize
        }

        /// Any bits, or numbers as people have them.
        fn double(&mut self, kind: usize) -> f64 {
            match kind % 5 {
                0 => f64::from_bits(self.next()),
                1 => (self.next() % 100_000) as f64 / 100.0,
                2 => -((self.next() % 1_000) as f64),
                3 => (self.next() as f64 / u64::MAX as f64 - 0.5) * 1e17,
                _ => [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, -1e-310, 1.0][self.below(7)],
            }
        }

        fn shuffle<T>(&mut self, values: &mut [T]) {
            for i in (1..values.len()).rev() {
                values.swap(i, self.below(i + 1));
            }
        }
    }

    fn bits<const N: usize>(sum: &ExactSum<N>) -> u64 {
        let value = sum.value();
        if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
    }

    fn total<const N: usize>(values: &[f64]) -> ExactSum<N> {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&value| _ = sum.add(value));
        sum
    }

    fn stored<const N: usize>(sum: &ExactSum<N>) -> ExactSum<N> {
        let mut bytes = Vec::new();
        sum.write(&mut bytes);
        ExactSum::read(&bytes).unwrap()
    }

    #[test]
    fn a_total_is_the_true_one_rounded_once() {
        let check = |values: &[f64], expect: f64| {
            assert_eq!(total::<2>(values).value().to_bits(), expect.to_bits(), "{values:?}");
            assert_eq!(total::<3>(values).value().to_bits(), expect.to_bits(), "{values:?}");
        };
        check(&[], 0.0);
        check(&[-0.0, -0.0], 0.0);
        check(&[0.1; 10], 1.0);
        check(&[1e100, 1.0, -1e100], 1.0);
        check(&[1e308, 1e308, -1e308, -1e308, 0.5], 0.5);
        check(&[1e308, 1e308], f64::INFINITY);
        check(&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX);
        check(&[5e-324, 1e300, 5e-324, -1e300], 1e-323);
        check(&[1.0, f64::EPSILON / 2.0], 1.0);
        check(&[1.0, f64::EPSILON / 2.0, 5e-324], 1.0 + f64::EPSILON);
        check(&[1.0 + f64::EPSILON, f64::EPSILON / 2.0], 1.0 + 2.0 * f64::EPSILON);
        check(&[-1.0, -f64::EPSILON / 2.0, -5e-324], -1.0 - f64::EPSILON);
        check(&[f64::MIN_POSITIVE, -5e-324], f64::MIN_POSITIVE - 5e-324);
        check(&[f64::INFINITY, 1.0], f64::INFINITY);
        check(&[f64::NEG_INFINITY, 1e308, 1e308], f64::NEG_INFINITY);
    }

    #[test]
    fn nan_and_infinities_go_when_they_are_taken_out() {
        let mut sum = total::<2>(&[1.5, f64::NAN, f64::INFINITY, -f64::NAN]);
        assert!(sum.value().is_nan() && sum.has_special());
        sum.take(f64::NAN);
        sum.take(f64::NAN);
        assert_eq!(stored(&sum).value(), f64::INFINITY);
        sum.add(f64::NEG_INFINITY);
        assert!(stored(&sum).value().is_nan());
        sum.take(f64::INFINITY);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        sum.take(f64::NEG_INFINITY);
        assert!(!sum.has_special());
        assert_eq!(sum.value(), 1.5);
    }

    #[test]
    fn neither_order_nor_splits_nor_deletions_show_in_a_total() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for round in 0..400 {
            let kind = dice.below(6);
            let count = dice.below(60);
            let mut values: Vec<f64> =
                (0..count).map(|i| dice.double(if kind == 5 { i } else { kind })).collect();
            let expect = bits(&total::<2>(&values));
            assert_eq!(expect, bits(&total::<3>(&values)), "round {round}");
            dice.shuffle(&mut values);
            // Parts that are merged, each written and read on the way; and others that come and go.
            let mut sum = ExactSum::<2>::default();
            let mut strangers: Vec<f64> = (0..dice.below(20)).map(|_| dice.double(kind)).collect();
            let stranger = total::<2>(&strangers);
            sum.merge(&stranger);
            let all = &mut ExactSum::<3>::default();
            all.add_all(values.iter().copied());
            assert_eq!(bits(all), expect, "round {round}");
            for part in values.chunks(1 + dice.below(9)) {
                sum.merge(&stored(&total(part)));
                if dice.below(3) == 0 {
                    sum = stored(&sum);
                }
            }
            if dice.below(2) == 0 {
                sum.subtract(&stranger);
            } else {
                dice.shuffle(&mut strangers);
                strangers.iter().for_each(|&value| _ = sum.take(value));
            }
            assert_eq!(bits(&sum), expect, "round {round}: {values:?}");
            assert_eq!(bits(&stored(&sum)), expect, "round {round}");
        }
    }

    #[test]
    fn a_weight_is_as_many_additions() {
        let mut dice = Dice(7);
        for kind in 0..500 {
            let value = dice.double(kind);
            let times = dice.below(9) as i64 - 4;
            let mut sum = total::<2>(&[0.3, 1e-300]);
            let mut each = sum.clone();
            sum.add_times(value, times);
            (0..times).for_each(|_| _ = each.add(value));
            (times..0).for_each(|_| _ = each.take(value));
            assert_eq!(bits(&sum), bits(&each), "{value} × {times}");
        }
        let mut sum = ExactSum::<2>::default();
        sum.add_times(f64::MAX, i64::MAX);
        sum.add_times(f64::MAX, -(i64::MAX - 1));
        assert_eq!(sum.value(), f64::MAX);
    }

    #[test]
    fn parts_add_up_to_the_total_and_depend_on_it_alone() {
        let mut dice = Dice(99);
        for kind in 0..300 {
            let mut values: Vec<f64> = (0..12).map(|_| dice.double(kind)).collect();
            let parts = total::<3>(&values).parts();
            dice.shuffle(&mut values);
            let same = total::<3>(&values).parts();
            assert_eq!(parts.len(), same.len());
            assert!(parts.iter().zip(&same).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan()));
            if parts.iter().all(|part| part.is_finite()) {
                assert_eq!(bits(&total::<3>(&parts)), bits(&total::<3>(&values)));
            }
        }
    }

    #[test]
    fn a_single_precision_total_is_rounded_once() {
        // Just above the middle between two: rounding to double first would lose the little more.
        let middle = 1.0 + f64::from(f32::EPSILON) / 2.0;
        assert_eq!(total::<2>(&[middle, 1e-30]).single(), 1.0 + f32::EPSILON);
        assert_eq!(total::<2>(&[-middle, -1e-30]).single(), -1.0 - f32::EPSILON);
        assert_eq!(total::<2>(&[middle, -1e-30]).single(), 1.0);
        assert_eq!(total::<2>(&[middle]).single(), 1.0);
        assert_eq!(total::<2>(&[middle, 1e-30, 1e300, -1e300]).single(), 1.0 + f32::EPSILON);
        assert_eq!(total::<2>(&[3e38, 3e38]).single(), f32::INFINITY);
        assert!(total::<2>(&[f64::NAN]).single().is_nan());
        assert_eq!(total::<2>(&[]).single().to_bits(), 0);
    }

    #[test]
    fn what_is_no_sum_is_not_read_as_one() {
        for bytes in
            [&[1u8; 3][..], &[1; 7], &[34; 9], &[0; 24], &[255; 9], &[64; 17], &[0; 8 * 35 + 1]]
        {
            assert!(ExactSum::<2>::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
