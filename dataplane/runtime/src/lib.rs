//! The shell of the data plane: it owns sockets, threads and the clock, and decides nothing about SIP or media.
//!
//! One thread carries SIP between sockets and workers; each worker thread drives one [`Core`] and relays the packets of
//! its own media sockets. Who implements [`Core`] and [`Steering`] decides; what crosses is plain values.
#![forbid(unsafe_code)]

mod channel;
mod clock;
pub mod config;
mod descriptors;
mod hooks;
mod sip_io;
mod socket;
mod start;
mod status;
mod telemetry;
pub mod tls;
mod worker;

pub use clock::now;
pub use config::{RuntimeConfig, RuntimeLimits};
pub use descriptors::TooFewDescriptors;
pub use hooks::{BrokenStream, Core, CoreOutput, Forward, Framer, Steering, Verdict};
pub use sip_io::DIAL_FAILURES;
pub use socket::BindError;
pub use start::{Dataplane, Handle, Liveness, StartError};
pub use telemetry::{
    HandshakeFailure, MappedPortCounters, SipIoCounters, Telemetry, WorkerIoCounters, transport_index,
};
pub use worker::{LayoutError, MediaPair, MediaRange, media_layout};
