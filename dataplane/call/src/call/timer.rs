//! What time does to a call: retransmissions, deadlines, verdicts about its media.

use std::time::Instant;

use tollgate_contract::{CallPhase, Side};
use tollgate_media::Verdict;
use tollgate_sip::Method;
use tollgate_sip::transaction::Fired;

use super::{Call, Cx};
use crate::output::Output;
use crate::transport::Transmit;
use crate::txn::{Purpose, earliest};

impl Call {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = [
            self.times.setup_deadline,
            self.times.invite_deadline,
            self.times.forgotten_at,
            self.fallback_timeout(),
        ];
        own.into_iter()
            .chain([earliest(&self.servers, &self.clients)])
            .flatten()
            .min()
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().instant;
        if self.times.setup_deadline.is_some_and(|at| at <= now) {
            self.times.setup_deadline = None;
            self.give_up_setup(cx, "setup_timeout");
        }
        if self.times.invite_deadline.is_some_and(|at| at <= now) {
            self.times.invite_deadline = None;
            self.give_up_setup(cx, "no_answer");
        }
        if self.fallback_timeout().is_some_and(|at| at <= now) {
            let settings = self.settings.fallback.clone();
            if let Some(step) = self.fallback.on_timeout(now, &settings) {
                self.on_fallback_step(cx, step);
            }
        }
        self.run_servers(cx);
        self.run_clients(cx);
        if self.times.forgotten_at.is_some_and(|at| at <= now) {
            self.servers.clear();
            self.clients.clear();
        }
    }

    /// Verdicts of one monitoring interval about what a side sends: the worst over its streams.
    pub(crate) fn handle_verdict(&mut self, cx: &mut Cx<'_>, side: Side, verdict: Verdict, loss: f32, jitter_us: u32) {
        if !self.settings.fallback.enabled || !matches!(self.phase, CallPhase::Established | CallPhase::FallingBack) {
            return;
        }
        let now = cx.now().instant;
        let settings = self.settings.fallback.clone();
        if let Some(step) = self
            .fallback
            .on_verdict(now, &settings, side, verdict, (loss, jitter_us))
        {
            self.on_fallback_step(cx, step);
        }
    }

    /// Neither side has sent for too long although media is expected (sip_media, edge.md 5).
    pub(crate) fn handle_silence(&mut self, cx: &mut Cx<'_>) {
        if self.phase == CallPhase::Established {
            self.end_both_legs(cx, "media_timeout");
        }
    }

    /// The edge leaves service now: an answered call is ended on both legs, one being set up goes to the PSTN.
    pub(crate) fn handle_closing(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            CallPhase::Established | CallPhase::FallingBack => self.end_both_legs(cx, "drain_deadline"),
            CallPhase::Inviting | CallPhase::Early => self.give_up_setup(cx, "drain_deadline"),
            CallPhase::Ending => {}
        }
    }

    fn fallback_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then(|| self.fallback.poll_timeout()).flatten()
    }

    fn give_up_setup(&mut self, cx: &mut Cx<'_>, reason: &'static str) {
        let initial = (0..self.servers.len()).find(|at| self.is_initial(*at));
        let Some(server) = initial.map(|at| self.servers[at].id) else {
            return;
        };
        self.cancel_clients_of(cx, server);
        let detail = format!("waited for the {} side", self.caller_side().other().name());
        self.refuse_setup(cx, server, reason, 408, detail);
    }

    fn run_servers(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().instant;
        for server in &mut self.servers {
            while let Some(fired) = server.machine.on_timeout(now) {
                if let (Fired::Retransmit, Some(bytes)) = (fired, server.last.clone()) {
                    let target = super::compose::response_target(&server.source, &server.request);
                    cx.counters.retransmissions.inc();
                    cx.outputs.push_back(Output::Transmit(Transmit {
                        target,
                        bytes,
                        token: None,
                    }));
                }
            }
        }
        self.servers
            .retain(|server| server.machine.state() != tollgate_sip::transaction::ServerState::Terminated);
    }

    fn run_clients(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().instant;
        let mut unanswered = Vec::new();
        for client in &mut self.clients {
            while let Some(fired) = client.machine.on_timeout(now) {
                match fired {
                    Fired::Retransmit => {
                        cx.counters.retransmissions.inc();
                        let (target, bytes) = (client.target.clone(), client.request.raw().to_vec());
                        cx.outputs.push_back(Output::Transmit(Transmit {
                            target,
                            bytes,
                            token: None,
                        }));
                    }
                    Fired::TimedOut => unanswered.push((client.purpose, client.method.clone())),
                    Fired::Terminated => {}
                }
            }
        }
        self.clients
            .retain(|client| client.machine.state() != tollgate_sip::transaction::ClientState::Terminated);
        for (purpose, method) in unanswered {
            self.on_unanswered(cx, purpose, &method);
        }
    }

    fn on_unanswered(&mut self, cx: &mut Cx<'_>, purpose: Purpose, method: &Method) {
        match purpose {
            Purpose::Relay { server } => {
                self.on_no_answer(cx, server, "timeout", 408);
                // RFC 3261 §12.2.1.2: no answer within a dialog ends it.
                if *method != Method::Invite && *method != Method::Bye {
                    self.end_both_legs(cx, "request_timeout");
                }
            }
            Purpose::Refer => {
                self.fallback.on_refer_answered(false);
                self.report_fallback(cx, "refer_refused");
            }
            Purpose::Cancel | Purpose::Bye => {}
        }
    }
}
