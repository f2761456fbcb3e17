//! What comes up in a pod, numbered in the order in which it comes: registries, names of secrets.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// Up to here a search from front to back is faster than a hash, and nothing is allocated for one.
const FEW: usize = 8;

/// Keys with their numbers from 0, each once. A pod has few of them; or, if its author means ill, a hundred thousand, and then
/// they are hashed.
#[derive(Clone, Debug)]
pub(super) struct Numbered<K> {
    keys: SmallVec<[K; 2]>,
    /// Of all keys, once there are more than a few.
    numbers: HashMap<K, usize, RandomState>,
}

impl<K> Default for Numbered<K> {
    fn default() -> Self {
        Self { keys: SmallVec::new(), numbers: HashMap::default() }
    }
}

impl<K: Eq + Hash + Clone> Numbered<K> {
    /// The number of a key that is there.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.keys.len() > FEW {
            return self.numbers.get(key).copied();
        }
        self.keys.iter().position(|known| known.borrow() == key)
    }

    /// Puts a key behind the others that is not there; its number.
    pub(super) fn push(&mut self, key: K) -> usize {
        let number = self.keys.len();
        self.keys.push(key);
        match self.keys.len() {
            ..=FEW => {}
            len if len == FEW + 1 => self.numbers.extend(self.keys.iter().cloned().zip(0..)),
            _ => drop(self.numbers.insert(self.keys[number].clone(), number)),
        }
        number
    }

    /// The number of a key, which is put behind the others if it is not there.
    pub(super) fn number(&mut self, key: K) -> usize {
        self.get(&key).unwrap_or_else(|| self.push(key))
    }

    pub(super) fn keys(&self) -> &[K] {
        &self.keys
    }

    pub(super) fn into_keys(self) -> SmallVec<[K; 2]> {
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_first_time_with_few_keys_and_with_many() {
        let mut numbered = Numbered::default();
        for round in 0..2 {
            for number in 0..100_usize {
                let key = format!("key-{number}");
                let known = numbered.get(&*key);
                assert_eq!(known, (round == 1).then_some(number));
                assert_eq!(numbered.number(key), number);
                assert_eq!(numbered.keys().len(), if round == 0 { number + 1 } else { 100 });
            }
        }
        assert_eq!(numbered.get("absent"), None);
        assert_eq!(numbered.keys()[99], "key-99");
    }
}
