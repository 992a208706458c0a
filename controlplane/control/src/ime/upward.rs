//! What became of calls, as the validator is told: outcomes summed by route, and calls that went back to the PSTN.
//!
//! Bounded, lossy, counted. A record of a call names number and domain; which route that was is looked up where the
//! routes are, in the control loop. There are no VcrReports: PSTN calls do not pass the edge. Source: vap.md 11.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_contract::{CallEnded, CallOutcome, E164, Way};
use tollgate_validator::RouteId;
use tollgate_validator::facts::{FallbackEvent, FallbackMetrics, RouteFeedback, RouteOutcome, UpFact};

use super::stats::ValidatorStats;
use crate::learned::{LearnedRoutes, Source};

/// Results of calls that wait for the control loop, and things that wait for the validator; more are lost and counted.
pub const UP_QUEUE: usize = 1_024;

/// How long outcomes are summed before the validator is told.
pub const FEEDBACK_WINDOW: Duration = Duration::from_secs(10);

/// Most sums kept; one more has them told at once.
const SUMS_MAX: usize = 1_024;

/// Longest reference to a call, in characters (vap.md 11).
const REFERENCE_MAX: usize = 128;

/// What an outbound call came to, as far as a validator cares.
#[derive(Clone, Debug, PartialEq)]
pub struct CallResult {
    /// The number called.
    pub called: E164,
    /// The peer's domain.
    pub domain: String,
    /// What the route was good for, if the call says that.
    pub outcome: Option<RouteOutcome>,
    /// The outside Call-ID, which shows nothing of the inside, and what was measured, if the call went back to the PSTN.
    pub fallback: Option<(String, FallbackMetrics)>,
}

impl CallResult {
    /// The result of a call; `None` for one that says nothing about a route.
    #[must_use]
    pub fn of(call: &CallEnded) -> Option<Self> {
        if call.way != Way::Outbound {
            return None;
        }
        let (outcome, fallback) = (outcome_of(call), fallback_of(call));
        if outcome.is_none() && fallback.is_none() {
            return None;
        }
        Some(Self {
            called: call.called?,
            domain: call.peer_domain.clone(),
            outcome,
            fallback,
        })
    }
}

/// What the record says about the route. Of a peer's refusals only 403 is about it: the ticket is not taken any more.
fn outcome_of(call: &CallEnded) -> Option<RouteOutcome> {
    match call.outcome {
        CallOutcome::Completed | CallOutcome::EndedByEdge | CallOutcome::FellBackInCall => {
            call.answer.map(|_| RouteOutcome::Ok)
        }
        CallOutcome::FellBackAtSetup => match call.reason {
            "tls_name_mismatch" => Some(RouteOutcome::TlsNameMismatch),
            "refused_by_peer" => (call.peer_status == Some(403)).then_some(RouteOutcome::Forbidden),
            "unreachable" | "connect_timeout" | "tls" | "connection_lost" => Some(RouteOutcome::ConnectFailed),
            _ => None,
        },
        CallOutcome::Rejected | CallOutcome::Cancelled => None,
    }
}

fn fallback_of(call: &CallEnded) -> Option<(String, FallbackMetrics)> {
    let event = call
        .fallback
        .as_ref()
        .filter(|_| call.outcome == CallOutcome::FellBackInCall)?;
    let metrics = FallbackMetrics {
        // A ratio, so at most 1,000 thousandths; what is not a number becomes 0.
        loss_permille: (event.loss_ratio.clamp(0.0, 1.0) * 1_000.0).round() as u16,
        jitter_us: event.jitter_us,
        since_trigger: event.since_trigger,
    };
    Some((call.call_id_outside.chars().take(REFERENCE_MAX).collect(), metrics))
}

/// Where the consumer of reports puts results; it never waits.
#[derive(Clone, Debug)]
pub struct CallResultSender {
    results: mpsc::Sender<CallResult>,
    stats: Arc<ValidatorStats>,
}

/// The way of results from the consumer of reports to the control loop.
#[must_use]
pub fn call_results(stats: Arc<ValidatorStats>) -> (CallResultSender, mpsc::Receiver<CallResult>) {
    let (results, receiver) = mpsc::channel(UP_QUEUE);
    (CallResultSender { results, stats }, receiver)
}

impl CallResultSender {
    /// Passes on what a call came to, or counts it as lost.
    pub fn note(&self, call: &CallEnded) {
        if let Some(result) = CallResult::of(call)
            && self.results.try_send(result).is_err()
        {
            self.stats.on_lost();
        }
    }
}

/// The control loop's half: finds the route of each result, sums, and tells.
#[derive(Debug)]
pub struct Feedback {
    up: mpsc::Sender<UpFact>,
    stats: Arc<ValidatorStats>,
    sums: BTreeMap<(RouteId, RouteOutcome), u32>,
    since: Option<Instant>,
}

impl Feedback {
    /// Nothing summed yet; `up` leads to [`run_validator`](super::run_validator) and has [`UP_QUEUE`] places.
    #[must_use]
    pub const fn new(up: mpsc::Sender<UpFact>, stats: Arc<ValidatorStats>) -> Self {
        Self {
            up,
            stats,
            sums: BTreeMap::new(),
            since: None,
        }
    }

    /// Takes a result. One whose route is not the validator's is not its business.
    pub fn note(&mut self, learned: &LearnedRoutes, result: CallResult) {
        let Some(route_id) = route_of(learned, &result) else {
            return;
        };
        if let Some((call, metrics)) = result.fallback {
            self.tell(UpFact::Fallback(FallbackEvent {
                call,
                route_id: Some(route_id.clone()),
                metrics,
            }));
        }
        let Some(outcome) = result.outcome else {
            return;
        };
        let key = (route_id, outcome);
        if self.sums.len() >= SUMS_MAX && !self.sums.contains_key(&key) {
            self.flush();
        }
        self.since.get_or_insert_with(Instant::now);
        let count = self.sums.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// When [`flush`](Self::flush) is due; `None` while nothing is summed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + FEEDBACK_WINDOW)
    }

    /// Tells all sums.
    pub fn flush(&mut self) {
        let window = self.since.take().map(|since| since.elapsed()).unwrap_or_default();
        for ((route_id, outcome), count) in std::mem::take(&mut self.sums) {
            self.tell(UpFact::Feedback(RouteFeedback {
                route_id,
                outcome,
                count,
                window,
            }));
        }
    }

    fn tell(&self, fact: UpFact) {
        if self.up.try_send(fact).is_err() {
            self.stats.on_lost();
        }
    }
}

/// The validator's route that a call went over.
fn route_of(learned: &LearnedRoutes, result: &CallResult) -> Option<RouteId> {
    let held = learned.in_use(result.called)?;
    let is_the_validators = match held.source {
        Source::Feed | Source::Vap => true,
        Source::Api | Source::File => false,
    };
    let is_used = is_the_validators && *held.route.domain == *result.domain;
    is_used.then(|| held.id.parse().ok()).flatten()
}
