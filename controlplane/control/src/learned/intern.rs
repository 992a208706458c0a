//! Equal domains and target lists held once: a peer's routes differ in number and ticket alone.
//!
//! It counts no references of its own; what nobody else holds is let go when the set has doubled.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// The set is not swept before it has so many entries.
const SWEEP_FLOOR: usize = 1_024;

/// Values behind shared pointers, each once.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    held: BTreeSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized + Ord> Pool<T> {
    const fn new() -> Self {
        Self {
            held: BTreeSet::new(),
            sweep_at: SWEEP_FLOOR,
        }
    }

    fn share<'v>(&mut self, value: &'v T) -> Arc<T>
    where
        Arc<T>: Borrow<T> + From<&'v T>,
    {
        if let Some(held) = self.held.get(value) {
            return held.clone();
        }
        if self.held.len() >= self.sweep_at {
            self.held.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = SWEEP_FLOOR.max(self.held.len() * 2);
        }
        let shared: Arc<T> = Arc::from(value);
        self.held.insert(shared.clone());
        shared
    }
}

/// The domains and target lists of learned routes.
#[derive(Debug)]
pub(super) struct Interned {
    domains: Pool<str>,
    targets: Pool<[SocketAddr]>,
}

impl Interned {
    pub(super) const fn new() -> Self {
        Self {
            domains: Pool::new(),
            targets: Pool::new(),
        }
    }

    pub(super) fn domain(&mut self, domain: &str) -> Arc<str> {
        self.domains.share(domain)
    }

    pub(super) fn targets(&mut self, targets: &[SocketAddr]) -> Arc<[SocketAddr]> {
        self.targets.share(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_what_nobody_holds_is_let_go() {
        let mut interned = Interned::new();
        let first = interned.domain("b.example");
        assert!(Arc::ptr_eq(&first, &interned.domain("b.example")));
        for at in 0..10 * SWEEP_FLOOR {
            interned.domain(&format!("{at}.example"));
        }
        assert!(interned.domains.held.len() <= SWEEP_FLOOR + 1);
        assert!(Arc::ptr_eq(&first, &interned.domain("b.example")));
    }
}
