//! Plain data that both planes agree on: a [`Snapshot`] goes down, a [`Report`] goes up.
//!
//! Rule of this crate: values only. It opens no socket, reads no clock, holds no lock but the one atomic pointer of
//! [`publish`], and knows neither the policy file nor a SIP message.
#![forbid(unsafe_code)]

mod admission;
pub mod counters;
mod e164;
mod mappings;
mod media;
mod nat;
mod peers;
pub mod publish;
mod redact;
mod report;
mod routes;
mod snapshot;
mod tickets;
mod time;

pub use admission::{Admission, Limits};
pub use e164::{E164, InvalidE164};
pub use mappings::{Mapping, MappingTable};
pub use media::{FallbackSettings, MediaPolicy, QualityThresholds, RtcpPolicy, SrtpSuite, UnknownSuite};
pub use nat::{InvalidTransport, Side, Transport, WireAddr};
pub use peers::{PeerLabel, PeerPolicy};
pub use redact::{Pii, Secret};
pub use report::{
    CallEnded, CallOutcome, CallPhase, CallView, DirectionQuality, FallbackEvent, FallbackTrigger, MediaView, Report,
    Way,
};
pub use routes::{InvalidNumberPattern, NumberPattern, Route, RouteChange, RouteTable};
pub use snapshot::{AgentTarget, CallRules, Snapshot, TicketFailureAction, TicketRules};
pub use tickets::{
    DeniedTickets, KeyId, KeyState, Keyring, KeyringFull, MAX_KEYS, MacCoverage, TicketAlg, TicketCause, TicketHeader,
    TicketKey,
};
pub use time::Now;
