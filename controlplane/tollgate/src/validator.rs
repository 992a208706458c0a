//! The line to the co-located validator as the control loop has it: what came of calls goes up on it.
//!
//! What comes down is an event of the loop's own; the connection and its sessions are `tollgate_control::ime`'s.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tollgate_control::Facts;
use tollgate_control::ime::{
    CallResult, Feedback, Start, UP_QUEUE, ValidatorChannels, ValidatorEvent, ValidatorSettings, ValidatorStats,
    call_results, run_validator,
};
use tollgate_control::learned::{LearnedRoutes, Ledger};
use tollgate_policy::Policy;
use tollgate_validator::checks::RouteRules;

use crate::boot::Fault;
use crate::exit;

/// The line of an edge that has a validator.
pub(crate) struct Validator {
    stats: Arc<ValidatorStats>,
    results: mpsc::Receiver<CallResult>,
    feedback: Feedback,
}

impl Validator {
    /// Starts the line of a policy that names a validator. Without one nothing ever comes.
    pub(crate) fn start(
        policy: &Policy,
        ledger: &Ledger,
        facts: &Mutex<Facts>,
        events: mpsc::Sender<ValidatorEvent>,
        rules: watch::Receiver<RouteRules>,
    ) -> Result<Option<Self>, Fault> {
        let Some(validator) = &policy.validator else {
            return Ok(None);
        };
        let settings = ValidatorSettings::load(validator, &policy.learned).map_err(|why| {
            let mend = "see that the files are PEM and belong together";
            Fault::new(exit::CONFIG, "validator.tls", why.to_string(), mend)
        })?;
        let stats = Arc::new(ValidatorStats::default());
        let (sender, results) = call_results(Arc::clone(&stats));
        facts.lock().unwrap_or_else(PoisonError::into_inner).set_upward(sender);
        let (up_tx, up) = mpsc::channel(UP_QUEUE);
        let channels = ValidatorChannels { events, up, rules };
        let start = Start::of(ledger.table());
        tokio::spawn(run_validator(settings, start, channels, Arc::clone(&stats)));
        Ok(Some(Self {
            feedback: Feedback::new(up_tx, Arc::clone(&stats)),
            stats,
            results,
        }))
    }

    /// What is counted.
    pub(crate) const fn stats(&self) -> &Arc<ValidatorStats> {
        &self.stats
    }

    /// The next result of a call.
    pub(crate) async fn result(&mut self) -> CallResult {
        match self.results.recv().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    /// Sums a result for the validator.
    pub(crate) fn note(&mut self, learned: &LearnedRoutes, result: CallResult) {
        self.feedback.note(learned, result);
    }

    /// Tells what is due.
    pub(crate) fn tick(&mut self) {
        if self.feedback.due().is_some_and(|due| due <= Instant::now()) {
            self.feedback.flush();
        }
    }
}
