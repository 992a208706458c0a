//! The live state as JSON, for `show` and for scripts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::{CallView, Side, SrtpSuite};

use crate::facts::Facts;
use crate::metrics::summed;
use crate::plane::Plane;
use crate::records;

/// The calls now.
pub(crate) fn calls(plane: &dyn Plane) -> Value {
    let calls: Vec<Value> = plane.calls().iter().map(call).collect();
    json!({ "calls": calls })
}

/// The media of the calls now.
pub(crate) fn media(plane: &dyn Plane) -> Value {
    let calls: Vec<Value> = plane
        .calls()
        .iter()
        .map(|view| {
            let media: Vec<Value> = view.media.iter().map(records::media).collect();
            json!({ "call_id": view.call_id_inside, "peer": view.peer_domain, "state": view.phase.name(), "media": media })
        })
        .collect();
    json!({ "calls": calls })
}

/// Peer domains seen: calls now and ended.
pub(crate) fn peers(plane: &dyn Plane, facts: &Facts) -> Value {
    let mut live: BTreeMap<String, u64> = BTreeMap::new();
    for view in plane.calls() {
        *live.entry(view.peer_domain).or_default() += 1;
    }
    let mut names: Vec<&String> = live.keys().chain(facts.peers.keys()).collect();
    names.sort();
    names.dedup();
    let peers: Vec<Value> = names
        .into_iter()
        .map(|name| {
            let sums = facts.peers.get(name).cloned().unwrap_or_default();
            let mos = (sums.mos_count > 0).then(|| sums.mos_sum / sums.mos_count as f64);
            json!({
                "peer": name,
                "calls_now": live.get(name).copied().unwrap_or_default(),
                "calls_ended": sums.ended,
                "talk_s": sums.talk_s,
                "mos_mean": mos,
                "fallbacks": sums.fallbacks,
            })
        })
        .collect();
    json!({ "peers": peers })
}

/// Media port pairs per side.
pub(crate) fn ports(plane: &dyn Plane) -> Value {
    let side = |side: Side| {
        let count = |at: usize| summed(plane, |worker: &WorkerCounters| worker.ports[side.index()].at(at).get());
        json!({ "used": count(0), "free": count(1), "quarantined": count(2) })
    };
    json!({ "inside": side(Side::Inside), "outside": side(Side::Outside) })
}

/// Everything dropped, by reason; reasons that never occurred are left out.
pub(crate) fn drops(plane: &dyn Plane) -> Value {
    let named = |names: &[&str], read: &dyn Fn(&WorkerCounters, usize) -> u64| {
        let counted = names
            .iter()
            .enumerate()
            .map(|(at, name)| ((*name).to_owned(), summed(plane, |worker| read(worker, at))));
        counted
            .filter(|(_, count)| *count > 0)
            .collect::<BTreeMap<String, u64>>()
    };
    let packets = named(plane.names().drop_reasons, &|worker, at| {
        worker.packets_dropped.at(at).get()
    });
    let messages = named(plane.names().parse_errors, &|worker, at| {
        worker.sip_parse_errors.at(at).get()
    });
    let violations = named(&tollgate_contract::counters::Violation::NAMES, &|worker, at| {
        worker.state_violations.at(at).get()
    });
    let causes = tollgate_contract::TicketCause::ALL.map(tollgate_contract::TicketCause::name);
    let tickets = named(&causes, &|worker, at| worker.tickets_failed.at(at).get());
    json!({ "packets": packets, "messages": messages, "violations": violations, "tickets": tickets })
}

fn call(view: &CallView) -> Value {
    let heard = |side: Side| {
        let audio = view.media.first().map(|media| &media.quality[side.index()]);
        json!({
            "packets": audio.map(|quality| quality.packets),
            "loss_ratio": audio.map(|quality| quality.loss_ratio()),
            "jitter_s": audio.map(|quality| f64::from(quality.jitter_us) / 1e6),
            "mos": audio.map(|quality| quality.mos),
        })
    };
    json!({
        "call_id": view.call_id_inside,
        "call_id_outside": view.call_id_outside,
        "direction": view.way.name(),
        "state": view.phase.name(),
        "peer": view.peer_domain,
        "called": view.called.map(|number| records::masked(&number.to_string())),
        "age_s": view.age.as_secs_f64(),
        "suite": view.media.iter().find_map(|media| media.suite).map(SrtpSuite::name),
        "from_inside": heard(Side::Inside),
        "from_outside": heard(Side::Outside),
    })
}
