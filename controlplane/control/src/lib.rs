//! The control plane: policy and facts become snapshots, reports become metrics and records, and the admin address
//! shows it all.
//!
//! Rule of this crate: the only one with tokio. It never touches a packet or a SIP message, and asks nothing of the data
//! plane but what [`Plane`] answers without waiting.
#![forbid(unsafe_code)]

mod admin;
mod api;
mod compile;
mod exposition;
mod facts;
pub mod ime;
pub mod learned;
pub mod mapping;
mod metrics;
mod names;
mod plane;
mod records;
mod store;
mod views;

pub use admin::{AdminState, Command, ReloadAnswer, router};
pub use compile::{CompileError, compile};
pub use exposition::{Exposition, Kind};
pub use facts::Facts;
pub use names::{Names, NamesError, resolve};
pub use plane::{CertificateExpiry, CounterNames, Plane};
pub use records::{RecordSink, open_sink};
pub use store::StoreFault;
