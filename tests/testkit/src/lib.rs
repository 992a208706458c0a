//! The test bed: a trapezoid in virtual time, a seeded network, packet and message makers, fuzz bodies,
//! the vector runner, and a stand-in for a validator.
//!
//! Rule of this crate: no sockets and no waiting, but for the stand-in, which is a process of its own, and the running
//! edge that torture vectors are sent to. A scenario drives the real call table and reads like a ladder diagram; the
//! scenarios themselves are in `tollgate-scenarios`.
#![deny(unsafe_code)]

pub mod alloc;
pub mod clock;
pub mod fuzz;
pub mod judge;
pub mod message;
pub mod mutate;
pub mod netem;
pub mod packet;
pub mod party;
pub mod sdp;
pub mod srtp_end;
pub mod trapezoid;
pub mod validator;
pub mod vectors;

pub use message::Message;
pub use netem::{Impairment, Netem};
pub use party::Party;
pub use sdp::{Heard, Sdp, heard};
pub use srtp_end::{SrtpEnd, key};
pub use trapezoid::{Deployment, Forwarded, Sent, Setup, Talk, Trapezoid};
