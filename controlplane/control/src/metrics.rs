//! The metrics page. Names and buckets follow the Prometheus naming guide; no label holds a Call-ID, number or address.

use std::time::SystemTime;

use tollgate_contract::counters::{AdmissionResult, Counters, Violation, WorkerCounters};
use tollgate_contract::{CallOutcome, CallPhase, FallbackTrigger, Side, SrtpSuite, TicketCause, Way};

use crate::exposition::{Exposition, Histogram, Kind};
use crate::facts::{Facts, QualityHistograms};
use crate::learned::{self, Stats};
use crate::plane::Plane;

const SIDES: [Side; 2] = [Side::Inside, Side::Outside];
const WAYS: [Way; 2] = [Way::Outbound, Way::Inbound];

/// Where the process stands.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) started_unix_s: f64,
    pub(crate) is_draining: bool,
    pub(crate) forced: u64,
}

impl Status {
    pub(crate) fn new(started: SystemTime) -> Self {
        let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            started_unix_s: started.as_secs_f64(),
            is_draining: false,
            forced: 0,
        }
    }
}

/// A number summed over the workers.
pub(crate) fn summed(plane: &dyn Plane, read: impl Fn(&WorkerCounters) -> u64) -> u64 {
    plane.counters().iter().map(|worker| read(worker)).sum()
}

/// The whole page.
pub(crate) fn page(
    plane: &dyn Plane,
    facts: &Facts,
    learned: &Stats,
    status: &Status,
    is_ready: bool,
    more: impl FnOnce(&mut Exposition),
) -> String {
    let mut out = Exposition::default();
    life(&mut out, plane, status, is_ready);
    signalling(&mut out, plane);
    calls(&mut out, plane, facts);
    tickets(&mut out, plane);
    media(&mut out, plane);
    quality(&mut out, facts);
    fallback(&mut out, plane);
    learned::expose(&mut out, learned);
    plane.expose(&mut out);
    more(&mut out);
    out.into_text()
}

fn life(out: &mut Exposition, plane: &dyn Plane, status: &Status, is_ready: bool) {
    gauge(
        out,
        "build_info",
        "The version that runs; always 1.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    gauge(
        out,
        "start_time_seconds",
        "When the process started, since 1970.",
        &[],
        status.started_unix_s,
    );
    gauge(
        out,
        "ready",
        "1 when new calls are taken.",
        &[],
        f64::from(u8::from(is_ready)),
    );
    gauge(
        out,
        "draining",
        "1 while leaving service.",
        &[],
        f64::from(u8::from(status.is_draining)),
    );
    counter(
        out,
        "drain_forced_calls_total",
        "Calls that a drain's deadline ended.",
        status.forced,
    );
    out.family(
        "tls_cert_not_after_timestamp_seconds",
        Kind::Gauge,
        "When our certificate ends, since 1970.",
    );
    for certificate in plane.certificates() {
        let value = certificate.not_after_unix_s as f64;
        out.sample(
            "tls_cert_not_after_timestamp_seconds",
            &[("name", certificate.name)],
            value,
        );
    }
}

fn signalling(out: &mut Exposition, plane: &dyn Plane) {
    out.family(
        "sip_requests_total",
        Kind::Counter,
        "Requests received, by the way they travel.",
    );
    for side in SIDES {
        for (at, method) in plane.names().methods.iter().enumerate() {
            let count = summed(plane, |worker| worker.sip_requests[side.index()].at(at).get());
            sparse(
                out,
                "sip_requests_total",
                &[("direction", direction(side)), ("method", method)],
                count,
            );
        }
    }
    out.family(
        "sip_responses_total",
        Kind::Counter,
        "Responses sent, by the side they went to.",
    );
    for side in SIDES {
        for code in 0..600usize {
            let count = summed(plane, |worker| worker.sip_responses[side.index()].at(code).get());
            let code = (code + 100).to_string();
            sparse(
                out,
                "sip_responses_total",
                &[("leg", side.name()), ("code", &code)],
                count,
            );
        }
    }
    named(
        out,
        plane,
        "sip_parse_errors_total",
        "Messages that are not acceptable SIP.",
        ("reason", plane.names().parse_errors),
        |worker| &worker.sip_parse_errors,
    );
    named(
        out,
        plane,
        "sip_state_violations_total",
        "Messages that broke a rule of state.",
        ("reason", &Violation::NAMES),
        |worker| &worker.state_violations,
    );
    let count = summed(plane, |worker| worker.retransmissions.get());
    counter(
        out,
        "sip_retransmissions_total",
        "Messages sent again by our timers.",
        count,
    );
    let count = summed(plane, |worker| worker.transactions.get());
    gauge(out, "transactions_active", "Transactions now.", &[], count as f64);
}

fn calls(out: &mut Exposition, plane: &dyn Plane, facts: &Facts) {
    out.family("calls_active", Kind::Gauge, "Calls now, by state.");
    let phases = [
        CallPhase::Inviting,
        CallPhase::Early,
        CallPhase::Established,
        CallPhase::FallingBack,
        CallPhase::Ending,
    ];
    for phase in phases {
        let count = summed(plane, |worker| worker.calls_active.at(phase as usize).get());
        out.sample("calls_active", &[("state", phase.name())], count as f64);
    }
    let outcomes = [
        CallOutcome::Completed,
        CallOutcome::EndedByEdge,
        CallOutcome::Cancelled,
        CallOutcome::Rejected,
        CallOutcome::FellBackAtSetup,
        CallOutcome::FellBackInCall,
    ];
    out.family("calls_total", Kind::Counter, "Calls ended, by how.");
    for way in WAYS {
        for outcome in outcomes {
            let count = summed(plane, |worker| {
                worker.calls_ended[way as usize].at(outcome as usize).get()
            });
            out.sample(
                "calls_total",
                &[("direction", way.name()), ("result", outcome.name())],
                count as f64,
            );
        }
    }
    out.family(
        "admission_total",
        Kind::Counter,
        "Requests for calls, by what became of them.",
    );
    for way in WAYS {
        for (at, result) in AdmissionResult::NAMES.iter().enumerate() {
            let count = summed(plane, |worker| worker.admissions[way as usize].at(at).get());
            out.sample(
                "admission_total",
                &[("direction", way.name()), ("result", result)],
                count as f64,
            );
        }
    }
    histogram(
        out,
        "call_setup_seconds",
        "From INVITE to the first 18x or final answer.",
        &facts.setup,
    );
    histogram(out, "call_answer_seconds", "From INVITE to the 2xx.", &facts.answer);
    histogram(
        out,
        "call_duration_seconds",
        "From the 2xx to the end.",
        &facts.duration,
    );
    counter(
        out,
        "call_records_lost_total",
        "Call records that could not be written.",
        facts.records_lost,
    );
}

fn tickets(out: &mut Exposition, plane: &dyn Plane) {
    out.family(
        "ticket_verifications_total",
        Kind::Counter,
        "Tickets checked, by result.",
    );
    let passed = summed(plane, |worker| worker.tickets_ok.get());
    out.sample("ticket_verifications_total", &[("result", "ok")], passed as f64);
    for (at, cause) in TicketCause::ALL.into_iter().enumerate() {
        let count = summed(plane, |worker| worker.tickets_failed.at(at).get());
        out.sample("ticket_verifications_total", &[("result", cause.name())], count as f64);
    }
}

fn media(out: &mut Exposition, plane: &dyn Plane) {
    out.family(
        "rtp_packets_total",
        Kind::Counter,
        "RTP and RTCP packets forwarded, by the side they came from.",
    );
    for side in SIDES {
        let count = summed(plane, |worker| worker.packets_forwarded.at(side.index()).get());
        out.sample("rtp_packets_total", &[("leg", side.name())], count as f64);
    }
    out.family("rtp_bytes_total", Kind::Counter, "Their bytes as received.");
    for side in SIDES {
        let count = summed(plane, |worker| worker.bytes_forwarded.at(side.index()).get());
        out.sample("rtp_bytes_total", &[("leg", side.name())], count as f64);
    }
    named(
        out,
        plane,
        "rtp_dropped_total",
        "Packets dropped, by reason.",
        ("reason", plane.names().drop_reasons),
        |worker| &worker.packets_dropped,
    );
    let suites: [&str; 6] = SrtpSuite::ALL.map(SrtpSuite::name);
    named(
        out,
        plane,
        "srtp_protect_total",
        "Packets protected.",
        ("suite", &suites),
        |worker| &worker.protected,
    );
    named(
        out,
        plane,
        "srtp_unprotect_total",
        "Packets authenticated and decrypted.",
        ("suite", &suites),
        |worker| &worker.unprotected,
    );
    out.family("media_ports", Kind::Gauge, "Media port pairs.");
    for side in SIDES {
        for (at, state) in ["used", "free", "quarantined"].into_iter().enumerate() {
            let count = summed(plane, |worker| worker.ports[side.index()].at(at).get());
            out.sample("media_ports", &[("pool", side.name()), ("state", state)], count as f64);
        }
    }
}

fn quality(out: &mut Exposition, facts: &Facts) {
    type Pick = fn(&QualityHistograms) -> &Histogram;
    let families: [(&str, &str, Pick); 4] = [
        (
            "rtp_loss_ratio",
            "Loss per call and direction at its end, by the side that sent.",
            |sums| &sums.loss,
        ),
        (
            "rtp_jitter_seconds",
            "Jitter (RFC 3550) at the end of a call, by the side that sent.",
            |sums| &sums.jitter,
        ),
        (
            "rtp_mos",
            "MOS estimated by the E-model (ITU-T G.107), by the side that sent.",
            |sums| &sums.mos,
        ),
        (
            "rtp_r_factor",
            "Transmission rating R (ITU-T G.107), by the side that sent.",
            |sums| &sums.r_factor,
        ),
    ];
    for (name, help, pick) in families {
        out.family(name, Kind::Histogram, help);
        for side in SIDES {
            out.histogram(name, &[("leg", side.name())], pick(&facts.quality[side.index()]));
        }
    }
    out.family(
        "one_way_calls_total",
        Kind::Counter,
        "Answered calls of 3 s or more with media from one side only, by the silent side.",
    );
    for side in SIDES {
        out.sample(
            "one_way_calls_total",
            &[("side", side.name())],
            facts.one_way[side.index()] as f64,
        );
    }
    counter(
        out,
        "zero_media_calls_total",
        "Answered calls of 3 s or more without any media.",
        facts.zero_media,
    );
}

fn fallback(out: &mut Exposition, plane: &dyn Plane) {
    out.family(
        "fallback_decisions_total",
        Kind::Counter,
        "Times quality became bad enough for a hold-down.",
    );
    for trigger in [FallbackTrigger::Loss, FallbackTrigger::Jitter, FallbackTrigger::Dead] {
        let count = summed(plane, |worker| worker.fallback_triggers.at(trigger as usize).get());
        out.sample("fallback_decisions_total", &[("trigger", trigger.name())], count as f64);
    }
    let steps = WorkerCounters::FALLBACK_STEPS;
    named(
        out,
        plane,
        "fallback_attempts_total",
        "Steps of fallbacks.",
        ("result", &steps),
        |worker| &worker.fallback_steps,
    );
    let count = summed(plane, |worker| worker.hold_downs.get());
    gauge(
        out,
        "fallback_holddown_active",
        "Hold-downs running.",
        &[],
        count as f64,
    );
}

/// One counter for each name, those at zero too, so that a rate can be taken from the first event on.
fn named<const N: usize>(
    out: &mut Exposition,
    plane: &dyn Plane,
    family: &str,
    help: &str,
    (label, names): (&str, &[&str]),
    pick: impl Fn(&WorkerCounters) -> &Counters<N>,
) {
    out.family(family, Kind::Counter, help);
    for (at, name) in names.iter().enumerate() {
        let count = summed(plane, |worker| pick(worker).at(at).get());
        out.sample(family, &[(label, name)], count as f64);
    }
}

/// A sample only if it has ever counted: for labels with many values.
fn sparse(out: &mut Exposition, name: &str, labels: &[(&str, &str)], count: u64) {
    if count > 0 {
        out.sample(name, labels, count as f64);
    }
}

fn counter(out: &mut Exposition, name: &str, help: &str, value: u64) {
    out.family(name, Kind::Counter, help);
    out.sample(name, &[], value as f64);
}

fn gauge(out: &mut Exposition, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
    out.family(name, Kind::Gauge, help);
    out.sample(name, labels, value);
}

fn histogram(out: &mut Exposition, name: &str, help: &str, histogram: &Histogram) {
    out.family(name, Kind::Histogram, help);
    out.histogram(name, &[], histogram);
}

/// What comes from the inside travels outbound.
fn direction(from: Side) -> &'static str {
    match from {
        Side::Inside => "outbound",
        Side::Outside => "inbound",
    }
}
