//! A map in shards behind `Arc`s: a change copies the shards it touches and shares the others with the old map.
//!
//! It does not know what it holds, and it is never changed in place. A shard is a slice in order of its keys: no empty
//! slots, one allocation, and a search of eight steps in a table of a million.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;
use std::sync::Arc;

/// Shards of a map that holds anything: a million entries make 244 a shard.
pub(super) const SHARDS: usize = 4_096;

/// Entries in order of their keys.
type Shard<K, V> = Arc<[(K, V)]>;

/// The map. A clone shares everything.
#[derive(Clone)]
pub(super) struct Sharded<K, V> {
    /// Has taken in the seed, and so chooses the shard; never shown, since who knows it could aim all keys at one shard.
    hasher: DefaultHasher,
    len: usize,
    /// [`SHARDS`] of them, or none as long as nothing was ever held.
    shards: Arc<[Shard<K, V>]>,
}

impl<K: Ord + Hash + Clone, V: Clone> Sharded<K, V> {
    /// An empty map.
    pub(super) fn new(seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Self {
            hasher,
            len: 0,
            shards: Arc::default(),
        }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entry of a key.
    pub(super) fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let shard = self.shards.get(shard_of(&self.hasher, key))?;
        let at = shard.binary_search_by(|(held, _)| held.borrow().cmp(key)).ok()?;
        shard.get(at).map(|(key, value)| (key, value))
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards
            .iter()
            .flat_map(|shard| shard.iter().map(|(key, value)| (key, value)))
    }

    /// The map with the values of some keys set, or removed where there is none. Each key may come once.
    pub(super) fn with(&self, changes: impl IntoIterator<Item = (K, Option<V>)>) -> Self {
        let mut changes: Vec<(usize, K, Option<V>)> = changes
            .into_iter()
            .map(|(key, value)| (shard_of(&self.hasher, &key), key, value))
            .collect();
        if changes.is_empty() {
            return self.clone();
        }
        changes.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let (mut len, mut shards) = (self.len, self.shards.clone());
        if shards.is_empty() {
            shards = iter::repeat_n(Arc::default(), SHARDS).collect();
        }
        let slots = Arc::make_mut(&mut shards);
        let mut changes = changes.into_iter().peekable();
        while let Some((at, ..)) = changes.peek() {
            let at = *at;
            let of_shard = iter::from_fn(|| changes.next_if(|change| change.0 == at));
            let slot = slots.get_mut(at).expect("a remainder of the number of shards");
            let shard = merge(slot, of_shard.map(|(_, key, value)| (key, value)));
            len = len + shard.len() - slot.len();
            *slot = shard;
        }
        Self {
            hasher: self.hasher.clone(),
            len,
            shards,
        }
    }

    /// How many shards are not the very ones of another map.
    #[cfg(test)]
    pub(super) fn shards_apart(&self, other: &Self) -> usize {
        let shared = self.shards.iter().zip(other.shards.iter());
        shared.filter(|(ours, theirs)| !Arc::ptr_eq(ours, theirs)).count()
    }
}

impl<K: Ord + Hash + Clone, V: Clone + PartialEq> PartialEq for Sharded<K, V> {
    /// Whether both hold the same entries; the seed may differ.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|(key, value)| other.get(key) == Some((key, value)))
    }
}

impl<K: Ord + Hash + Clone, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<K, V> fmt::Debug for Sharded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sharded({} entries)", self.len)
    }
}

/// SipHash over a secret and the key: without the secret, keys for one shard cannot be picked.
fn shard_of<K: Hash + ?Sized>(seeded: &DefaultHasher, key: &K) -> usize {
    let mut hasher = seeded.clone();
    key.hash(&mut hasher);
    (hasher.finish() % SHARDS as u64) as usize
}

/// A shard with changes applied, which are in order of their keys, each key once.
fn merge<K: Ord + Clone, V: Clone>(shard: &[(K, V)], changes: impl Iterator<Item = (K, Option<V>)>) -> Shard<K, V> {
    let mut merged = Vec::with_capacity(shard.len() + 1);
    let mut rest = shard;
    for (key, value) in changes {
        let (before, from) = rest.split_at(rest.partition_point(|(held, _)| *held < key));
        merged.extend_from_slice(before);
        rest = match from {
            [(held, _), after @ ..] if *held == key => after,
            _ => from,
        };
        merged.extend(value.map(|value| (key, value)));
    }
    merged.extend_from_slice(rest);
    merged.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_merged_shard_holds_what_a_map_with_the_same_changes_holds(
            held: BTreeMap<u8, u8>,
            changes: BTreeMap<u8, Option<u8>>,
        ) {
            let shard: Vec<(u8, u8)> = held.clone().into_iter().collect();
            let merged = merge(&shard, changes.clone().into_iter());
            let mut expected = held;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(expected.insert(key, value)),
                    None => drop(expected.remove(&key)),
                }
            }
            prop_assert_eq!(merged.to_vec(), expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn another_seed_spreads_the_same_keys_otherwise() {
        let (one, other) = (Sharded::<u64, ()>::new(1), Sharded::<u64, ()>::new(2));
        let crowded = (0u64..).filter(|key| shard_of(&one.hasher, key) == 0).take(20);
        let elsewhere = crowded.filter(|key| shard_of(&other.hasher, key) != 0).count();
        assert!(elsewhere >= 18, "{elsewhere} of 20 left the shard");
    }

    #[test]
    fn keys_in_sequence_spread_evenly() {
        let map = Sharded::<u64, ()>::new(7).with((0..SHARDS as u64 * 64).map(|key| (key, Some(()))));
        assert!(map.shards.iter().all(|shard| (20..130).contains(&shard.len())));
    }

    #[test]
    fn debug_output_shows_no_seed() {
        let map = Sharded::<u64, u64>::new(77_123).with([(5, Some(6))]);
        assert_eq!(format!("{map:?}"), "Sharded(1 entries)");
    }
}
