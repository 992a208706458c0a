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

/// Names of counters that the data plane alone knows, in the order it counts them.
#[derive(Clone, Copy, Debug)]
pub struct CounterNames {
    /// Methods of requests.
    pub methods: &'static [&'static str],
    /// Reasons for which a message is not acceptable SIP.
    pub parse_errors: &'static [&'static str],
    /// Reasons for which a packet is dropped.
    pub drop_reasons: &'static [&'static str],
}

/// A data plane as the control plane sees it; implemented where both are known. No method waits for a worker longer
/// than about a second.
pub trait Plane: Send + Sync + 'static {
    /// The calls now.
    fn calls(&self) -> Vec<CallView>;

    /// One set of counters for each worker.
    fn counters(&self) -> &[Arc<WorkerCounters>];

    /// What the workers' counters are called.
    fn names(&self) -> CounterNames;

    /// Adds what the sockets and threads count.
    fn expose(&self, out: &mut Exposition);

    /// A thread that hangs or has ended, in words; `None` when all are well.
    fn illness(&self) -> Option<String>;

    /// Our certificates.
    fn certificates(&self) -> Vec<CertificateExpiry>;
}
