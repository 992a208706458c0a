//! What changed since the store was told last.
//!
//! It writes nothing. Past its bound it forgets the changes and says so: then the store is written anew from memory.

use std::sync::Arc;

use super::{HeldRoute, Kept, Mark, Name, Source};

/// Most changes kept for the store: a few megabytes.
const OPS_MAX: usize = 65_536;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A route is there.
    PutRoute(HeldRoute),
    /// A route is gone.
    RemoveRoute(Source, Arc<str>),
    /// Another fact is there.
    Put(Source, Kept),
    /// Another fact is gone.
    Remove(Source, Name),
    /// Where a source stands.
    Mark(Source, Mark),
}

/// Changes in order, or the word that there were too many.
#[derive(Debug, Default)]
pub struct Journal {
    ops: Vec<Op>,
    has_overflowed: bool,
}

impl Journal {
    pub(super) fn note(&mut self, op: impl FnOnce() -> Op) {
        if self.has_overflowed {
            return;
        }
        if self.ops.len() >= OPS_MAX {
            return self.overflow();
        }
        self.ops.push(op());
    }

    /// Lets the store be written anew: it holds what the table does not.
    pub(super) fn overflow(&mut self) {
        self.ops = Vec::new();
        self.has_overflowed = true;
    }

    /// Takes the changes out; `None` if there were too many to keep.
    pub fn take(&mut self) -> Option<Vec<Op>> {
        let ops = std::mem::take(&mut self.ops);
        (!std::mem::take(&mut self.has_overflowed)).then_some(ops)
    }
}
