//! The end of a call, and its way back to the PSTN.

use std::time::Duration;

use tollgate_contract::{CallEnded, CallOutcome, CallPhase, FallbackEvent, Report, Side, Way};

use super::compose::new_branch;
use super::{Call, Cx};
use crate::fallback::Step;
use crate::output::Output;
use crate::txn::Purpose;

/// edge.md 3: 40 s after a call's end nothing of it is left. 64 × T1 for an answer, T4 for its repetitions, and a rest.
pub(super) const LINGER: Duration = Duration::from_secs(38);

impl Call {
    /// Ends the call: media stops, ports go back, the record goes up. Transactions are still finished. Only the first
    /// call of this does anything.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, outcome: CallOutcome, reason: &'static str) {
        if self.outcome.is_some() {
            return;
        }
        let moved = self.fallback.is_moving() && outcome == CallOutcome::Completed;
        let outcome = if moved { CallOutcome::FellBackInCall } else { outcome };
        self.outcome = Some(outcome);
        self.phase = CallPhase::Ending;
        self.times.setup_deadline = None;
        self.times.invite_deadline = None;
        self.times.forgotten_at = Some(cx.now().instant + LINGER);
        let media = self.negotiation.end(&mut cx.res);
        cx.counters.call_ended(self.way, outcome);
        let now = cx.now();
        let since = |from: std::time::Instant, to: std::time::Instant| to.saturating_duration_since(from);
        let started = self.times.started.instant;
        let text = |side: Side| String::from_utf8_lossy(self.call_id(side)).into_owned();
        let record = CallEnded {
            call_id_inside: text(Side::Inside),
            call_id_outside: text(Side::Outside),
            way: self.way,
            called: self.called,
            peer_domain: self.settings.peer.domain.clone(),
            ticket: self.ticket,
            outcome,
            reason,
            status: self.final_status,
            peer_status: self.peer_status,
            started: self.times.started.unix,
            setup: self.times.ringing.map(|at| since(started, at)),
            answer: self.times.answered.map(|at| since(started, at)),
            talk: self.times.answered.map(|at| since(at, now.instant)),
            media,
            fallback: self.fallback_event(cx, "ended"),
        };
        cx.outputs
            .push_back(Output::Report(Report::CallEnded(Box::new(record))));
    }

    /// The edge ends an answered call by itself.
    pub(crate) fn end_both_legs(&mut self, cx: &mut Cx<'_>, reason: &'static str) {
        if self.outcome.is_some() {
            return;
        }
        if let Some(dialog) = self.confirmed() {
            self.send_bye(cx, Side::Inside, dialog);
            self.send_bye(cx, Side::Outside, dialog);
        }
        self.finish(cx, CallOutcome::EndedByEdge, reason);
    }

    pub(super) fn send_bye(&mut self, cx: &mut Cx<'_>, side: Side, dialog: usize) {
        let cseq = self.leg_mut(side).book.own();
        let branch = new_branch(cx.res.rng);
        let bytes = self.compose_request(side, dialog, ("BYE", cseq, &branch), &[]);
        self.send_request(cx, (side, Some(dialog)), (bytes, branch), Purpose::Bye);
    }

    /// What the fallback machine asked for.
    pub(super) fn on_fallback_step(&mut self, cx: &mut Cx<'_>, step: Step) {
        match step {
            Step::HoldDown => {
                if let Some(evidence) = self.fallback.evidence() {
                    cx.counters.fallback_triggered(evidence.trigger);
                }
                self.report_fallback(cx, "hold_down");
            }
            Step::Cancelled => self.report_fallback(cx, "cancelled"),
            Step::Refer => self.send_refer(cx),
            Step::EndBoth => self.end_both_legs(cx, "moved_without_bye"),
        }
    }

    /// calls.md 7: the far party asks our agent, within the dialog, to call the number over the PSTN.
    fn send_refer(&mut self, cx: &mut Cx<'_>) {
        let is_ours_to_ask = self.way == Way::Outbound || self.settings.fallback.refer_when_called;
        let takes_it = self.leg(Side::Inside).takes_refer;
        let Some(dialog) = self.confirmed().filter(|_| is_ours_to_ask && takes_it) else {
            self.report_fallback(cx, "suppressed");
            self.fallback.on_refer_answered(false);
            return;
        };
        let Some(number) = self.far_number() else {
            self.report_fallback(cx, "suppressed");
            self.fallback.on_refer_answered(false);
            return;
        };
        let cseq = self.leg_mut(Side::Inside).book.own();
        let branch = new_branch(cx.res.rng);
        let contact = String::from_utf8_lossy(&self.leg(Side::Inside).contact).into_owned();
        let extra = [
            ("Contact", format!("<{contact}>")),
            (
                "Refer-To",
                format!("<sip:{number}@{};user=phone>", self.settings.agent.address),
            ),
            ("Refer-Sub", "false".to_owned()),
            ("Supported", "norefersub".to_owned()),
        ];
        let bytes = self.compose_request(Side::Inside, dialog, ("REFER", cseq, &branch), &extra);
        self.refer_cseq = Some(cseq);
        self.phase = CallPhase::FallingBack;
        self.send_request(cx, (Side::Inside, Some(dialog)), (bytes, branch), Purpose::Refer);
        self.report_fallback(cx, "refer_sent");
    }

    /// The +E.164 number of the far party: the called one outbound, the caller's inbound where it has one.
    fn far_number(&self) -> Option<String> {
        match self.way {
            Way::Outbound => self.called.map(|number| number.to_string()),
            Way::Inbound => {
                let caller = tollgate_sip::NameAddr::parse(&self.leg(Side::Inside).caller)?;
                tollgate_ticket::number_of_request_uri(caller.uri).map(|number| number.to_string())
            }
        }
    }

    pub(super) fn report_fallback(&mut self, cx: &mut Cx<'_>, stage: &'static str) {
        cx.counters.fallback_step(stage);
        if let Some(event) = self.fallback_event(cx, stage) {
            cx.outputs.push_back(Output::Report(Report::Fallback(event)));
        }
    }

    fn fallback_event(&self, cx: &Cx<'_>, stage: &'static str) -> Option<FallbackEvent> {
        let evidence = self.fallback.evidence()?;
        Some(FallbackEvent {
            call_id_inside: String::from_utf8_lossy(self.call_id(Side::Inside)).into_owned(),
            trigger: evidence.trigger,
            side: evidence.side,
            loss_ratio: evidence.loss_ratio,
            jitter_us: evidence.jitter_us,
            since_trigger: cx.now().instant.saturating_duration_since(evidence.at),
            stage,
        })
    }
}
