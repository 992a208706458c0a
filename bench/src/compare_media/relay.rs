//! What all relays under measurement have in common.
//!
//! It names them and starts them; what each is stands in its own module.

use std::path::PathBuf;

use tollgate_contract::SrtpSuite;

use super::call::{Ends, Network, Relayed};
use super::edge::Edge;
use super::floor::Floor;
use super::machine::Cores;
use super::peer::Peer;
use super::process::Process;

/// A relay that runs.
pub(crate) trait Relay {
    /// Its process.
    fn process(&self) -> &Process;

    /// Puts it between the ends of one call.
    fn set_up(&mut self, ends: &Ends) -> Result<Relayed, String>;
}

/// What a line of the tables is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// rtpengine.
    Peer,
    /// `tollgate run`, its media threads waking at most once in so many microseconds.
    Edge {
        /// `media.wait_us`; 0 wakes for each packet.
        wait_us: u32,
    },
    /// A relay that does nothing else, over the same I/O.
    Floor {
        /// As the edge's.
        wait_us: u32,
    },
}

/// What a relay is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The most calls it will have.
    pub(crate) calls: u16,
    /// The suite outside.
    pub(crate) suite: SrtpSuite,
}

/// Where and with what relays are started.
#[derive(Debug)]
pub(crate) struct Place {
    /// Holds policies, keys and logs.
    pub(crate) folder: PathBuf,
    /// The addresses.
    pub(crate) network: Network,
    /// Who runs where.
    pub(crate) cores: Cores,
    /// The program `tollgate`.
    pub(crate) tollgate: PathBuf,
}

impl Terms {
    /// G.711 under the suite every SIP peer speaks.
    pub(crate) const fn usual(calls: u16) -> Self {
        Self {
            calls,
            suite: SrtpSuite::AesCm128HmacSha1_80,
        }
    }
}

impl What {
    /// Starts it.
    ///
    /// # Errors
    /// In words, when it does not start.
    pub(crate) fn start(self, place: &Place, terms: Terms) -> Result<Box<dyn Relay>, String> {
        Ok(match self {
            Self::Peer => Box::new(Peer::start(&place.folder, place.cores)?),
            Self::Edge { wait_us } => Box::new(Edge::start(place, terms, wait_us)?),
            Self::Floor { wait_us } => Box::new(Floor::start(place, terms, wait_us)?),
        })
    }

    /// Whether what it sends outside is as it came inside.
    pub(crate) const fn passes_in_clear(self) -> bool {
        match self {
            Self::Floor { .. } => true,
            Self::Peer | Self::Edge { .. } => false,
        }
    }

    /// How it moves packets, as `io_path` in the figures.
    pub(crate) fn io_path(self) -> String {
        match self {
            Self::Peer => "rtpengine userspace".to_owned(),
            Self::Edge { wait_us: 0 } | Self::Floor { wait_us: 0 } => "udp sockets, no draining".to_owned(),
            Self::Edge { wait_us } | Self::Floor { wait_us } => format!("udp sockets, draining {wait_us} us"),
        }
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Peer => "rtpengine".to_owned(),
            Self::Edge { .. } => format!("tollgate, {}", self.io_path()),
            Self::Floor { .. } => format!("floor, {}", self.io_path()),
        }
    }
}
