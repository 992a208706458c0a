//! The TLS settings in force: read at each handshake, replaced while running.
//!
//! A connection keeps the settings it began with; what may replace them is checked where they are set.

use std::sync::{Arc, Mutex, PoisonError};

use tollgate_contract::Side;

use super::TlsSide;

/// The settings of both sides, shared by the SIP thread and whoever replaces them.
#[derive(Clone, Debug)]
pub(crate) struct CurrentTls(Arc<Mutex<[Option<TlsSide>; 2]>>);

impl CurrentTls {
    /// In order of [`Side::index`].
    pub(crate) fn new(sides: [Option<TlsSide>; 2]) -> Self {
        Self(Arc::new(Mutex::new(sides)))
    }

    /// The settings of a side.
    pub(crate) fn get(&self, side: Side) -> Option<TlsSide> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[side.index()].clone()
    }

    /// Puts both sides' settings in force for handshakes from now on.
    pub(crate) fn set(&self, sides: [Option<TlsSide>; 2]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sides;
    }
}
