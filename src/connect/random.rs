//! Random numbers that are a function of a seed and a place: what is generated is the same whenever it
//! is read, and any row can be computed first.

/// SplitMix64 (Steele, Lea, Flood 2014): one multiply-and-mix per number.
pub(super) struct Random(u64);

impl Random {
    /// The numbers that begin with this one.
    pub(super) fn from(start: u64) -> Random {
        Random(start)
    }

    /// Those of a column of a row.
    pub(super) fn of(seed: u64, row: u64, column: u64) -> Random {
        Random(mix(seed ^ row.wrapping_mul(0xD6E8_FEB8_6659_FD93)) ^ (column << 56))
    }

    /// From 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// `length` letters.
    pub(super) fn letters<'b>(&mut self, length: usize, buffer: &'b mut Vec<u8>) -> &'b str {
        buffer.clear();
        while buffer.len() < length {
            let mut eight = self.next().to_le_bytes();
            for byte in &mut eight {
                *byte = b'a' + ((u16::from(*byte) * 26) >> 8) as u8;
            }
            buffer.extend_from_slice(&eight);
        }
        std::str::from_utf8(&buffer[..length]).unwrap_or("")
    }
}

pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
