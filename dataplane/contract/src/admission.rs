//! Whether new calls come in, and how many.

/// Open for new calls, or leaving service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Admission {
    /// New calls are taken.
    #[default]
    Open,
    /// New INVITEs get 503; calls in progress go on.
    Draining,
    /// The drain's deadline has passed: calls in progress are ended.
    Closing,
}

impl Admission {
    /// Whether new calls are taken.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Bounds on what new work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once over all workers.
    pub max_calls: u32,
    /// New calls a second that one peer domain may ask for; more get 503.
    pub calls_per_second_per_peer: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_calls: 2_000,
            calls_per_second_per_peer: 100,
        }
    }
}
