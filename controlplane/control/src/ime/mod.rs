//! The control plane's line to its validator: a connection that carries the feed or VAP, and what goes up on it.
//!
//! The sessions themselves are pure and stand in `tollgate_validator`; here are sockets, TLS, timers and queues. It keeps
//! no fact and decides nothing about calls. Sources: vap.md 2, 8, 11.
//!
//! - `settings`: what the policy says, files read.
//! - `connect`: a Unix socket with its peer's uid checked, TCP, or mutual TLS.
//! - `session`: feed and VAP behind one face; `client`: connect, converse, pause, again.
//! - `events`: what the control loop is told; `stats`: what is counted.
//! - `upward`: what became of calls, as the validator is told.

mod client;
mod connect;
mod events;
mod session;
mod settings;
mod stats;
#[cfg(test)]
mod tests;
mod upward;

pub use client::{ValidatorChannels, run_validator};
pub use events::{EVENT_QUEUE, ValidatorEvent};
pub use session::Start;
pub use settings::{SettingsError, TlsTerms, ValidatorSettings, VapSettings};
pub use stats::{ValidatorStats, expose};
pub use upward::{CallResult, CallResultSender, FEEDBACK_WINDOW, Feedback, UP_QUEUE, call_results};
