//! What the control plane may see of a running data plane.

use std::sync::Arc;

use tollgate_contract::CallView;
use tollgate_contract::counters::WorkerCounters;

use crate::exposition::Exposition;

/// When a certificate of ours ends.
#[derive(Clone, Debug)]
pub struct CertificateExpiry {
    /// `inside` or `outside`.
    pub name: &'static str,
    /// Its notAfter, seconds since 1970.
    pub not_after_unix_s: u64,
}

/// A data plane as the control plane sees it; implemented where both are known. No method waits for a worker longer
/// than about a second.
pub trait Plane: Send + Sync + 'static {
    /// The calls now.
    fn calls(&self) -> Vec<CallView>;

    /// One set of counters for each worker.
    fn counters(&self) -> &[Arc<WorkerCounters>];

    /// Names of dropped packets' reasons, in the order the workers count them.
    fn drop_reasons(&self) -> &'static [&'static str];

    /// Adds what the sockets and threads count.
    fn expose(&self, out: &mut Exposition);

    /// A thread that hangs or has ended, in words; `None` when all are well.
    fn illness(&self) -> Option<String>;

    /// Our certificates.
    fn certificates(&self) -> Vec<CertificateExpiry>;
}
