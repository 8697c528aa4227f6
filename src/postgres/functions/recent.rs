//! What is made of a constant nearly always, and of a column now and then: a regular expression of its
//! pattern, a part of time of its name.

/// How many are kept: a column of patterns must not fill the memory.
const KEPT: usize = 100;

/// What was made last, by what it was made of.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    made: Vec<(K, V)>,
    /// Where that of the row before stands.
    last: usize,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Recent<K, V> {
        Recent { made: Vec::new(), last: 0 }
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    /// What is made of a key, at once if that is known.
    pub(super) fn of<E>(&mut self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<&V, E> {
        if self.made.get(self.last).is_none_or(|(known, _)| *known != key) {
            self.last = match self.made.iter().position(|(known, _)| *known == key) {
                Some(at) => at,
                None => {
                    let value = make(&key)?;
                    if self.made.len() == KEPT {
                        self.made.clear();
                    }
                    self.made.push((key, value));
                    self.made.len() - 1
                }
            };
        }
        Ok(&self.made[self.last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_made_once_as_long_as_there_are_few() {
        let mut made = 0;
        let mut recent = Recent::default();
        for _ in 0..3 {
            for key in 0..KEPT {
                let value = recent.of(key, |key| {
                    made += 1;
                    Ok::<_, ()>(key * 2)
                });
                assert_eq!(value, Ok(&(key * 2)));
            }
        }
        assert_eq!(made, KEPT);
        assert_eq!(recent.of(KEPT, |_| Err(7)), Err(7));
        assert_eq!(recent.of(KEPT, |_| Ok::<_, ()>(8)), Ok(&8));
        assert!(recent.made.len() <= KEPT);
    }
}
