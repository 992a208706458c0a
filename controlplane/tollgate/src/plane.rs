//! The running data plane as the control plane sees it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_contract::counters::{Counter, WorkerCounters};
use tollgate_contract::{CallView, Side, Transport};
use tollgate_control::{CertificateExpiry, CounterNames, Exposition, Kind, Plane};
use tollgate_runtime::{DIAL_FAILURES, Handle, HandshakeFailure, MappedPortCounters, transport_index};

/// Names of drop reasons, in the order of their counters.
static DROP_REASONS: [&str; tollgate_media::DropReason::ALL.len()] = {
    let mut names = [""; tollgate_media::DropReason::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = tollgate_media::DropReason::ALL[at].name();
        at += 1;
    }
    names
};

/// A thread silent for longer hangs: it wakes at least once a second.
const SILENT_LIMIT: Duration = Duration::from_secs(5);

/// The runtime's handle with the counters and certificates beside it.
pub(crate) struct EdgePlane {
    pub(crate) handle: Handle,
    pub(crate) counters: Vec<Arc<WorkerCounters>>,
    pub(crate) certificates: Mutex<Vec<CertificateExpiry>>,
}

impl EdgePlane {
    /// What is shown of our certificates from now on.
    pub(crate) fn set_certificates(&self, certificates: Vec<CertificateExpiry>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }
}

impl Plane for EdgePlane {
    fn calls(&self) -> Vec<CallView> {
        self.handle.views()
    }

    fn counters(&self) -> &[Arc<WorkerCounters>] {
        &self.counters
    }

    fn names(&self) -> CounterNames {
        CounterNames {
            methods: &tollgate_sip::Method::LABELS,
            parse_errors: &tollgate_sip::InvalidMessage::NAMES,
            drop_reasons: &DROP_REASONS,
        }
    }

    fn expose(&self, out: &mut Exposition) {
        expose_sip(out, self);
        expose_workers(out, self);
    }

    fn illness(&self) -> Option<String> {
        self.handle.liveness().into_iter().find_map(|thread| match thread {
            thread if thread.is_finished => Some(format!("{} has ended", thread.thread)),
            thread if thread.silent_for > SILENT_LIMIT => Some(format!("{} hangs", thread.thread)),
            _ => None,
        })
    }

    fn certificates(&self) -> Vec<CertificateExpiry> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn expose_sip(out: &mut Exposition, plane: &EdgePlane) {
    let sip = &plane.handle.telemetry().sip;
    type PerTransport = [[Counter; 3]; 2];
    let mut per_transport = |name: &str, kind: Kind, help: &str, counters: &PerTransport| {
        out.family(name, kind, help);
        for side in [Side::Inside, Side::Outside] {
            for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
                let value = counters[side.index()][transport_index(transport)].get();
                out.sample(
                    name,
                    &[("leg", side.name()), ("transport", transport.name())],
                    value as f64,
                );
            }
        }
    };
    per_transport("sip_connections", Kind::Gauge, "SIP connections open now.", &sip.open);
    per_transport(
        "sip_messages_received_total",
        Kind::Counter,
        "SIP messages received.",
        &sip.messages_in,
    );
    per_transport(
        "sip_messages_sent_total",
        Kind::Counter,
        "SIP messages sent.",
        &sip.messages_out,
    );
    expose_deployments(out, plane);
    out.family("tls_handshakes_total", Kind::Counter, "TLS handshakes, by result.");
    out.sample("tls_handshakes_total", &[("result", "ok")], sip.handshakes.get() as f64);
    for failure in HandshakeFailure::ALL {
        let value = sip.handshakes_failed[failure.index()].get();
        out.sample("tls_handshakes_total", &[("result", failure.name())], value as f64);
    }
    out.family(
        "dials_failed_total",
        Kind::Counter,
        "Connections that could not be made, by cause.",
    );
    for (failure, counter) in DIAL_FAILURES.iter().zip(&sip.dials_failed) {
        out.sample(
            "dials_failed_total",
            &[("reason", failure.name())],
            counter.get() as f64,
        );
    }
    out.family(
        "shield_drops_total",
        Kind::Counter,
        "Connections and messages refused before any call logic.",
    );
    let drops = [
        ("over_limit", &sip.over_limit),
        ("over_limit_per_remote", &sip.over_limit_per_remote),
        ("unmapped", &sip.unmapped),
        ("framing", &sip.framing_errors),
        ("slow_message", &sip.slow_messages),
        ("idle", &sip.idle_closed),
        ("datagram_oversize", &sip.datagrams_oversize),
        ("mailbox_full", &sip.mailbox_full),
        ("outbound_full", &sip.outbound_full),
    ];
    for (reason, counter) in drops {
        out.sample("shield_drops_total", &[("reason", reason)], counter.get() as f64);
    }
}

/// Connections by the peer they were meant for: to mapped ports (off-path) and to transparent listeners (inline).
fn expose_deployments(out: &mut Exposition, plane: &EdgePlane) {
    let telemetry = plane.handle.telemetry();
    let sum = |read: &dyn Fn(&MappedPortCounters) -> u64| telemetry.mapped.iter().map(read).sum::<u64>() as f64;
    out.family("mapped_ports", Kind::Gauge, "Ports of the mapping service.");
    out.sample("mapped_ports", &[], telemetry.mapped.len() as f64);
    out.family(
        "mapped_connections",
        Kind::Gauge,
        "Connections of the call agent to mapped ports, open now.",
    );
    out.sample("mapped_connections", &[], sum(&|port| port.open.get()));
    out.family(
        "mapped_connections_accepted_total",
        Kind::Counter,
        "Connections of the call agent to mapped ports with a mapping.",
    );
    out.sample(
        "mapped_connections_accepted_total",
        &[],
        sum(&|port| port.accepted.get()),
    );
    out.family(
        "transparent_connections_accepted_total",
        Kind::Counter,
        "Connections of the call agent to peers, taken on their way.",
    );
    out.sample(
        "transparent_connections_accepted_total",
        &[],
        telemetry.sip.accepted_transparent.get() as f64,
    );
}

fn expose_workers(out: &mut Exposition, plane: &EdgePlane) {
    let workers = &plane.handle.telemetry().workers;
    let sum = |read: &dyn Fn(usize) -> u64| (0..workers.len()).map(read).sum::<u64>() as f64;
    out.family(
        "media_socket_errors_total",
        Kind::Counter,
        "Packets lost at our own sockets, by cause.",
    );
    let causes: [(&str, f64); 4] = [
        ("oversize", sum(&|at| workers[at].packets_oversize.get())),
        ("send_blocked", sum(&|at| workers[at].sends_blocked.get())),
        ("send_error", sum(&|at| workers[at].send_errors.get())),
        ("receive_error", sum(&|at| workers[at].receive_errors.get())),
    ];
    for (cause, value) in causes {
        out.sample("media_socket_errors_total", &[("reason", cause)], value);
    }
    out.family(
        "reports_lost_total",
        Kind::Counter,
        "Facts the control plane had no room for.",
    );
    out.sample("reports_lost_total", &[], sum(&|at| workers[at].reports_lost.get()));
    out.family(
        "panics_contained_total",
        Kind::Counter,
        "Bugs that ended one call and nothing else.",
    );
    out.sample("panics_contained_total", &[], sum(&|at| workers[at].panics.get()));
}
