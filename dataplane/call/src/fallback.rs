//! When a call is handed back to the PSTN: verdicts, hold-down, one REFER (edge.md 8, calls.md 7).
//!
//! A state machine over readings and time. It neither measures nor writes messages: it says when a REFER is due.
//!
//! ```text
//! Watching ─poor/dead─▶ HoldDown ─end─▶ due (REFER) ─▶ Asked ─2xx─▶ Moving ─sipfrag 2xx, 5 s─▶ overdue (BYE)
//!     ▲                    │ good            │                └─refused─▶ Refused (the call stays up)
//!     └────────────────────┘                 └ no more than 3, a hold-down apart
//! ```

use std::time::{Duration, Instant};

use tollgate_contract::{FallbackSettings, FallbackTrigger, Side};
use tollgate_media::Verdict;

/// Most REFERs of one call (edge.md 8).
pub(crate) const MAX_REFERS: u8 = 3;

/// calls.md 7: after the agent says the new leg is up, so long for its BYE.
pub(crate) const MOVED_GRACE: Duration = Duration::from_secs(5);

/// What triggered, kept as evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// The trigger.
    pub trigger: FallbackTrigger,
    /// Whose media was bad.
    pub side: Side,
    /// Loss over the window, 0 to 1.
    pub loss_ratio: f32,
    /// Jitter, microseconds.
    pub jitter_us: u32,
    /// When.
    pub at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Watching,
    HoldDown { due: Instant },
    Asked,
    Moving { overdue: Instant },
    Refused,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A hold-down has begun.
    HoldDown,
    /// The quality came back in time.
    Cancelled,
    /// Send the REFER now.
    Refer,
    /// The agent moved the call but did not end it here: BYE both legs.
    EndBoth,
}

/// The fallback of one call.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    state: State,
    evidence: Option<Evidence>,
    refers: u8,
    not_before: Option<Instant>,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            state: State::Watching,
            evidence: None,
            refers: 0,
            not_before: None,
        }
    }
}

impl Fallback {
    /// What triggered last.
    #[must_use]
    pub(crate) fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// Whether a hold-down runs.
    #[must_use]
    pub(crate) fn is_holding_down(&self) -> bool {
        matches!(self.state, State::HoldDown { .. })
    }

    /// Whether a REFER is out or was answered with success.
    #[must_use]
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self.state, State::Asked | State::Moving { .. })
    }

    /// A verdict about what one side sends.
    pub(crate) fn on_verdict(
        &mut self,
        now: Instant,
        settings: &FallbackSettings,
        side: Side,
        verdict: Verdict,
        (loss_ratio, jitter_us): (f32, u32),
    ) -> Option<Step> {
        let trigger = match verdict {
            Verdict::Poor(trigger) => trigger,
            Verdict::Dead => FallbackTrigger::Dead,
            Verdict::Good => return self.on_good(side),
            Verdict::Unknown => return None,
        };
        if self.state != State::Watching || self.refers >= MAX_REFERS {
            return None;
        }
        let wait = match trigger {
            FallbackTrigger::Dead => settings.dead_hold_down,
            FallbackTrigger::Loss | FallbackTrigger::Jitter => settings.hold_down,
        };
        let due = self.not_before.map_or(now + wait, |earliest| earliest.max(now + wait));
        self.state = State::HoldDown { due };
        self.evidence = Some(Evidence {
            trigger,
            side,
            loss_ratio,
            jitter_us,
            at: now,
        });
        Some(Step::HoldDown)
    }

    /// Signalling changed who sends (calls.md 6): what was measured no longer counts.
    pub(crate) fn on_media_changed(&mut self) -> Option<Step> {
        self.is_holding_down().then(|| {
            self.state = State::Watching;
            Step::Cancelled
        })
    }

    /// The REFER's final response.
    pub(crate) fn on_refer_answered(&mut self, accepted: bool) {
        if self.state == State::Asked && !accepted {
            self.state = State::Refused;
        }
    }

    /// The agent's NOTIFY about its progress: the status of the sipfrag.
    pub(crate) fn on_progress(&mut self, now: Instant, status: u16) {
        match (self.state, status) {
            (State::Asked, 200..300) => {
                self.state = State::Moving {
                    overdue: now + MOVED_GRACE,
                }
            }
            (State::Asked, 300..) => self.state = State::Refused,
            (State::Asked | State::Watching | State::HoldDown { .. } | State::Moving { .. } | State::Refused, _) => {}
        }
    }

    /// When [`on_timeout`](Self::on_timeout) wants to be called.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::HoldDown { due } => Some(due),
            State::Moving { overdue } => Some(overdue),
            State::Watching | State::Asked | State::Refused => None,
        }
    }

    /// A timer may have run out.
    pub(crate) fn on_timeout(&mut self, now: Instant, settings: &FallbackSettings) -> Option<Step> {
        match self.state {
            State::HoldDown { due } if due <= now => {
                self.state = State::Asked;
                self.refers += 1;
                self.not_before = Some(now + settings.hold_down);
                Some(Step::Refer)
            }
            State::Moving { overdue } if overdue <= now => {
                self.state = State::Refused;
                Some(Step::EndBoth)
            }
            State::HoldDown { .. } | State::Moving { .. } | State::Watching | State::Asked | State::Refused => None,
        }
    }

    /// A hold-down ends early only by the side that began it.
    fn on_good(&mut self, side: Side) -> Option<Step> {
        let began_it = self.evidence.is_some_and(|evidence| evidence.side == side);
        if !self.is_holding_down() || !began_it {
            return None;
        }
        self.state = State::Watching;
        Some(Step::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOR: Verdict = Verdict::Poor(FallbackTrigger::Loss);

    #[test]
    fn poor_quality_asks_once_after_the_hold_down() {
        let (mut fallback, settings, start) = fresh();
        assert_eq!(poor(&mut fallback, start, &settings), Some(Step::HoldDown));
        assert_eq!(poor(&mut fallback, start + Duration::from_secs(5), &settings), None);
        assert_eq!(fallback.on_timeout(start + Duration::from_secs(19), &settings), None);
        assert_eq!(fallback.poll_timeout(), Some(start + settings.hold_down));
        assert_eq!(
            fallback.on_timeout(start + settings.hold_down, &settings),
            Some(Step::Refer)
        );
        assert_eq!(fallback.on_timeout(start + settings.hold_down * 9, &settings), None);
        assert_eq!(poor(&mut fallback, start + settings.hold_down * 9, &settings), None);
    }

    #[test]
    fn quality_that_returns_cancels_and_the_other_sides_does_not() {
        let (mut fallback, settings, start) = fresh();
        poor(&mut fallback, start, &settings);
        let good = |fallback: &mut Fallback, side| fallback.on_verdict(start, &settings, side, Verdict::Good, (0.0, 0));
        assert_eq!(good(&mut fallback, Side::Inside), None);
        assert_eq!(good(&mut fallback, Side::Outside), Some(Step::Cancelled));
        assert_eq!(fallback.poll_timeout(), None);
    }

    #[test]
    fn dead_media_has_the_shorter_hold_down_and_unknown_none() {
        let (mut fallback, settings, start) = fresh();
        assert_eq!(
            fallback.on_verdict(start, &settings, Side::Outside, Verdict::Unknown, (0.0, 0)),
            None
        );
        fallback.on_verdict(start, &settings, Side::Outside, Verdict::Dead, (0.0, 0));
        assert_eq!(fallback.poll_timeout(), Some(start + settings.dead_hold_down));
    }

    #[test]
    fn a_refused_refer_is_not_repeated() {
        let (mut fallback, settings, start) = fresh();
        poor(&mut fallback, start, &settings);
        fallback.on_timeout(start + settings.hold_down, &settings);
        fallback.on_refer_answered(false);
        assert_eq!(poor(&mut fallback, start + settings.hold_down * 5, &settings), None);
        assert!(!fallback.is_moving());
    }

    #[test]
    fn a_moved_call_whose_agent_sends_no_bye_is_ended_after_five_seconds() {
        let (mut fallback, settings, start) = fresh();
        poor(&mut fallback, start, &settings);
        let asked = start + settings.hold_down;
        fallback.on_timeout(asked, &settings);
        fallback.on_refer_answered(true);
        fallback.on_progress(asked, 100);
        fallback.on_progress(asked, 200);
        assert_eq!(fallback.on_timeout(asked + Duration::from_secs(4), &settings), None);
        assert_eq!(fallback.on_timeout(asked + MOVED_GRACE, &settings), Some(Step::EndBoth));
    }

    fn fresh() -> (Fallback, FallbackSettings, Instant) {
        (
            Fallback::default(),
            FallbackSettings::default(),
            crate::testing::now().instant,
        )
    }

    fn poor(fallback: &mut Fallback, now: Instant, settings: &FallbackSettings) -> Option<Step> {
        fallback.on_verdict(now, settings, Side::Outside, POOR, (0.3, 0))
    }
}
