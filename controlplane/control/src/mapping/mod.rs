//! The mapping service of mode off-path: call agents ask it for an inside address that stands for a peer's.
//!
//! It forwards nothing: the mapped ports are the data plane's, which learns of a mapping by the snapshot. The protocol is
//! ours, docs/mapping-service.md; IME's was never published (edge.md 1).
//!
//! - `codec`: lines and what they say, pure.
//! - `leases`: which port stands for what, for whom, how long; pure.
//! - `desk`: the control loop's half, which holds answers back until the data plane serves the port.
//! - `kept`: clients' mappings over a restart.
//! - `service`: the listener; `client`: the other end; `stats`: what is counted.

mod cause;
mod client;
mod codec;
mod desk;
mod kept;
mod leases;
mod service;
mod stats;

pub use cause::Cause;
pub use client::{ClientError, Mapped, MappingClient};
pub use codec::{
    Answer, Greeting, InvalidVersion, Item, LIST_PAGE, LineDecoder, MAX_LINE, Malformed, Method, NotUnderstood,
    PROTOCOL, Request, Response, Target, TooLong, VERSION, Version,
};
pub use desk::{Asked, MAX_PENDING, MappingDesk, Outcome, Question, READY_LIMIT, Reply, ResolvedTarget};
pub use kept::{KeptMapping, load, save};
pub use leases::{
    AskError, Claim, LeaseCounts, LeaseRules, LeaseView, MappingKey, MappingLeases, Origin, PORT_QUARANTINE, PutError,
    Source,
};
pub use service::{MAX_OUTSTANDING, MappingServiceConfig, QUESTION_QUEUE, Resolver, serve_mappings, system_resolver};
pub use stats::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT, MappingStats, expose};
/// Which far addresses may be mapped.
pub use tollgate_validator::checks::AddressRules;
