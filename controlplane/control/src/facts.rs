//! What the reports add up to: histograms, per-peer sums, the record sink and the log.

use std::collections::BTreeMap;

use tollgate_contract::{CallEnded, CallOutcome, DirectionQuality, Report, Side};

use crate::exposition::Histogram;
use crate::ime::CallResultSender;
use crate::records::{self, RecordSink};

/// Most peer domains kept apart; further ones are summed as `other`.
const MAX_PEERS: usize = 1_024;

/// A call at least so long with media from one side only is one-way, in seconds.
const ONE_WAY_AFTER_S: f64 = 3.0;

const SETUP_S: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const DURATION_S: &[f64] = &[1.0, 10.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10800.0, 14400.0];
const LOSS: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
const JITTER_S: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5];
const MOS: &[f64] = &[1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.4, 5.0];
const R_FACTOR: &[f64] = &[0.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];

/// Quality of ended calls, of what one side sent.
#[derive(Debug)]
pub(crate) struct QualityHistograms {
    pub(crate) loss: Histogram,
    pub(crate) jitter: Histogram,
    pub(crate) mos: Histogram,
    pub(crate) r_factor: Histogram,
}

/// What is known of one peer domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerSums {
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) talk_s: f64,
    pub(crate) mos_sum: f64,
    pub(crate) mos_count: u64,
    pub(crate) fallbacks: u64,
}

/// The sum of all reports.
#[derive(Debug)]
pub struct Facts {
    pub(crate) setup: Histogram,
    pub(crate) answer: Histogram,
    pub(crate) duration: Histogram,
    pub(crate) quality: [QualityHistograms; 2],
    pub(crate) one_way: [u64; 2],
    pub(crate) zero_media: u64,
    pub(crate) peers: BTreeMap<String, PeerSums>,
    pub(crate) records_lost: u64,
    sink: RecordSink,
    upward: Option<CallResultSender>,
}

impl Facts {
    /// Nothing seen; records go to `sink`.
    #[must_use]
    pub fn new(sink: RecordSink) -> Self {
        Self {
            setup: Histogram::new(SETUP_S),
            answer: Histogram::new(SETUP_S),
            duration: Histogram::new(DURATION_S),
            quality: std::array::from_fn(|_| QualityHistograms {
                loss: Histogram::new(LOSS),
                jitter: Histogram::new(JITTER_S),
                mos: Histogram::new(MOS),
                r_factor: Histogram::new(R_FACTOR),
            }),
            one_way: [0; 2],
            zero_media: 0,
            peers: BTreeMap::new(),
            records_lost: 0,
            sink,
            upward: None,
        }
    }

    /// What calls came to is passed on to a validator, too.
    pub fn set_upward(&mut self, upward: CallResultSender) {
        self.upward = Some(upward);
    }

    /// Takes a report: counts it, records it, logs it.
    pub fn observe(&mut self, report: &Report) {
        match report {
            Report::CallEnded(call) => self.on_call_ended(call),
            Report::Fallback(event) => tracing::info!(
                event = "fallback",
                call_id = %event.call_id_inside,
                stage = event.stage,
                trigger = event.trigger.name(),
                side = event.side.name(),
                loss_ratio = event.loss_ratio,
                jitter_us = event.jitter_us,
                since_trigger_ms = event.since_trigger.as_millis() as u64,
                "fallback {}",
                event.stage,
            ),
            Report::SetupFailed {
                call_id,
                way,
                reason,
                status,
                detail,
            } => tracing::warn!(
                event = "setup_failed",
                call_id = %call_id,
                direction = way.name(),
                reason,
                status,
                detail = %detail,
                "call could not be set up",
            ),
            Report::Contained { worker, doing } => {
                tracing::error!(
                    event = "contained",
                    worker,
                    doing,
                    "a bug ended one call; please report it"
                );
            }
        }
    }

    fn on_call_ended(&mut self, call: &CallEnded) {
        let observe = |histogram: &mut Histogram, time: Option<std::time::Duration>| {
            if let Some(time) = time {
                histogram.observe(time.as_secs_f64());
            }
        };
        observe(&mut self.setup, call.setup);
        observe(&mut self.answer, call.answer);
        observe(&mut self.duration, call.talk);
        let mut mos = None;
        for side in [Side::Inside, Side::Outside] {
            for view in &call.media {
                let heard = &view.quality[side.index()];
                if heard.packets > 0 {
                    self.observe_quality(side, heard);
                    mos.get_or_insert_with(|| f64::from(heard.mos));
                }
            }
        }
        self.note_one_way(call);
        self.note_peer(call, mos);
        if let Some(upward) = &self.upward {
            upward.note(call);
        }
        let record = records::record(call);
        if let Err(why) = self.sink.write(&record) {
            self.records_lost += 1;
            if self.records_lost.is_power_of_two() {
                tracing::error!(event = "record_lost", lost = self.records_lost, %why, "call records cannot be written");
            }
        }
    }

    fn observe_quality(&mut self, side: Side, heard: &DirectionQuality) {
        let histograms = &mut self.quality[side.index()];
        histograms.loss.observe(heard.loss_ratio());
        histograms.jitter.observe(f64::from(heard.jitter_us) / 1e6);
        histograms.mos.observe(f64::from(heard.mos));
        histograms.r_factor.observe(f64::from(heard.r_factor));
    }

    fn note_one_way(&mut self, call: &CallEnded) {
        if call.talk.is_none_or(|talk| talk.as_secs_f64() < ONE_WAY_AFTER_S) {
            return;
        }
        let heard = |side: Side| {
            call.media
                .iter()
                .map(|view| view.quality[side.index()].packets)
                .sum::<u64>()
        };
        match (heard(Side::Inside), heard(Side::Outside)) {
            (0, 0) => self.zero_media += 1,
            (0, _) => self.one_way[Side::Inside.index()] += 1,
            (_, 0) => self.one_way[Side::Outside.index()] += 1,
            (_, _) => {}
        }
    }

    fn note_peer(&mut self, call: &CallEnded, mos: Option<f64>) {
        let is_known = self.peers.contains_key(&call.peer_domain);
        let name = if is_known || self.peers.len() < MAX_PEERS {
            call.peer_domain.as_str()
        } else {
            "other"
        };
        let sums = self.peers.entry(name.to_owned()).or_default();
        *sums.ended.entry(call.outcome.name()).or_default() += 1;
        sums.talk_s += call.talk.unwrap_or_default().as_secs_f64();
        if let Some(mos) = mos {
            sums.mos_sum += mos;
            sums.mos_count += 1;
        }
        sums.fallbacks += u64::from(call.outcome == CallOutcome::FellBackInCall);
    }
}
