use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tollgate_contract::FallbackTrigger;

use super::*;

const SEED: u64 = 20;
const INTERVAL_US: u64 = 100_000;
const PACKET_US: u64 = 20_000;

#[test]
fn fallback_behaviour_is_that_of_the_vectors_at_default_thresholds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/quality/fallback.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        for seed in SEED..SEED + 3 {
            check_fallback(case, seed);
        }
    }
}

#[test]
fn heavy_loss_is_poor_and_returns_to_good_only_under_the_lower_threshold() {
    let mut path = Path::new(1);
    path.run(10_000, 0.0, 0.0);
    path.run(10_000, 0.3, 0.0);
    assert_eq!(path.verdict, Verdict::Poor(FallbackTrigger::Loss));
    path.run(10_000, 0.075, 0.0);
    assert_eq!(
        path.verdict,
        Verdict::Poor(FallbackTrigger::Loss),
        "between the thresholds"
    );
    path.run(10_000, 0.0, 0.0);
    assert_eq!(path.verdict, Verdict::Good);
}

#[test]
fn loss_between_the_thresholds_alone_stays_good() {
    let mut path = Path::new(2);
    path.run(30_000, 0.06, 0.0);
    assert_eq!(path.worst, 1, "never worse than good");
}

#[test]
fn jitter_above_its_threshold_is_poor() {
    let mut path = Path::new(3);
    path.run(10_000, 0.0, 400.0);
    assert_eq!(path.verdict, Verdict::Poor(FallbackTrigger::Jitter));
}

#[test]
fn media_that_never_came_is_dead_after_its_time() {
    let start = origin();
    let mut monitor = Monitor::new(start);
    let mut at = |ms| {
        monitor
            .poll_verdict(start + Duration::from_millis(ms), &QualityThresholds::default())
            .0
    };
    assert_eq!(at(1999), Verdict::Unknown);
    assert_eq!(at(2000), Verdict::Dead);
}

#[test]
fn announced_silence_is_unknown_for_thirty_seconds_and_rtcp_keeps_it_so() {
    for (payload_type, payload_len) in [(13, 1), (19, 1), (18, 2), (96, 2)] {
        let mut path = Path::new(4);
        path.run(5_000, 0.0, 0.0);
        path.deliver(payload_type, payload_len);
        path.wait(1_900);
        assert_eq!(path.verdict, Verdict::Good, "payload type {payload_type}");
        path.wait(27_000);
        assert_eq!(path.verdict, Verdict::Unknown, "payload type {payload_type}");
        path.monitor.on_rtcp(path.now());
        path.wait(29_000);
        assert_eq!(path.verdict, Verdict::Unknown, "payload type {payload_type}");
        path.wait(2_000);
        assert_eq!(path.verdict, Verdict::Dead, "payload type {payload_type}");
    }
}

#[test]
fn change_of_direction_forgets_a_poor_verdict() {
    let mut path = Path::new(5);
    path.run(10_000, 0.5, 0.0);
    assert_eq!(path.verdict, Verdict::Poor(FallbackTrigger::Loss));
    path.monitor.reset_verdict(path.now());
    path.run(500, 0.0, 0.0);
    assert_eq!(path.verdict, Verdict::Good);
}

#[test]
fn copies_late_packets_and_runs_of_loss_are_told_apart() {
    let start = origin();
    let mut monitor = Monitor::new(start);
    let mut at = start;
    for sequence in [1_u16, 2, 4, 3, 4, 5, 9, 10] {
        at += Duration::from_millis(20);
        deliver(&mut monitor, at, 0, 160, sequence, u32::from(sequence) * 160);
    }
    let quality = monitor.quality();
    assert_eq!((quality.packets, quality.expected, quality.lost), (8, 10, 3));
    assert_eq!(
        (quality.duplicates, quality.reordered, quality.longest_burst),
        (1, 1, 3)
    );
    assert_eq!((quality.bytes, quality.codec), (8 * 172, "G.711"));
}

#[test]
fn new_ssrc_is_a_new_stream_and_no_loss() {
    let start = origin();
    let mut monitor = Monitor::new(start);
    for (at, (ssrc, sequence)) in [(1_u32, 10_u16), (1, 11), (2, 9000), (2, 9001)].into_iter().enumerate() {
        let bytes = packet(0, 160, sequence, 0, ssrc);
        let view = RtpView::new_checked(&bytes).unwrap();
        let at = start + Duration::from_millis(20 * at as u64);
        monitor.on_rtp(at, &view, bytes.len(), &CodecHint::default());
    }
    let quality = monitor.quality();
    assert_eq!((quality.expected, quality.lost), (4, 0));
}

#[test]
fn clean_g711_rates_high_and_lossy_low() {
    let mut path = Path::new(6);
    path.run(10_000, 0.0, 0.0);
    let clean = path.monitor.quality();
    assert!(clean.r_factor > 90.0 && clean.mos > 4.3, "{clean:?}");
    path.run(60_000, 0.2, 0.0);
    let lossy = path.monitor.quality();
    assert!(lossy.r_factor < 60.0 && lossy.mos < 3.2, "{lossy:?}");
}

#[test]
fn a_sender_whose_timestamps_stood_still_in_silence_is_no_jitter() {
    let start = origin();
    let mut monitor = Monitor::new(start);
    for at in 0..100_u32 {
        let pause_ms = if at >= 50 { 20_000 } else { 0 };
        let arrival = start + Duration::from_millis(u64::from(at) * 20 + pause_ms);
        deliver(&mut monitor, arrival, 0, 160, at as u16, at * 160);
    }
    assert_eq!(monitor.quality().jitter_max_us, 0);
}

fn check_fallback(case: &Value, seed: u64) {
    let mut path = Path::new(seed);
    let series = case["series"].as_array().unwrap();
    for (at, part) in series.iter().enumerate() {
        let ms = part["ms"].as_u64().unwrap();
        let is_fault = at == 1;
        assert!(
            path.triggered_at_ms.is_none() || at > 1,
            "{}: a trigger before the fault",
            case["id"]
        );
        path.fault_from_us = if is_fault { path.now_us } else { path.fault_from_us };
        let loss = part["loss_percent"].as_f64().unwrap() / 100.0;
        let jitter_ms = part["jitter_ms"].as_f64().unwrap();
        match (part["media_expected"].as_bool().unwrap(), case["id"].as_str().unwrap()) {
            (true, _) => path.run(ms, loss, jitter_ms),
            (false, "silence") => path.rest_with_comfort_noise(ms),
            (false, _) => path.hold(ms),
        }
    }
    let id = format!("{} with seed {seed}", case["id"]);
    if !case["trigger"].as_bool().unwrap() {
        assert_eq!(path.triggered_at_ms, None, "{id}");
        return;
    }
    let between: Vec<u64> = case["between_ms_after_start_of_fault"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ms| ms.as_u64().unwrap())
        .collect();
    let triggered = path.triggered_at_ms.unwrap_or_else(|| panic!("{id}: no trigger"));
    assert!(
        (between[0]..=between[1]).contains(&triggered),
        "{id}: after {triggered} ms"
    );
}

/// A sender of G.711 at 50 packets a second, a seeded path, and a monitor read at the default interval.
struct Path {
    rng: StdRng,
    start: Instant,
    monitor: Monitor,
    codecs: CodecHint,
    now_us: u64,
    sequence: u16,
    timestamp: u32,
    verdict: Verdict,
    worst: u8,
    fault_from_us: u64,
    triggered_at_ms: Option<u64>,
}

impl Path {
    fn new(seed: u64) -> Self {
        let start = origin();
        Self {
            rng: StdRng::seed_from_u64(seed),
            start,
            monitor: Monitor::new(start),
            codecs: CodecHint::new([(96, Some("opus/48000/2"))]),
            now_us: 0,
            sequence: 65_000,
            timestamp: 0,
            verdict: Verdict::Unknown,
            worst: 0,
            fault_from_us: 0,
            triggered_at_ms: None,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    fn run(&mut self, ms: u64, loss: f64, jitter_ms: f64) {
        let mut arrivals = Vec::new();
        for at in 0..ms * 1000 / PACKET_US {
            let sent = self.now_us + at * PACKET_US;
            let late = (self.rng.random::<f64>() * jitter_ms * 1000.0) as u64;
            if self.rng.random::<f64>() >= loss {
                arrivals.push((sent + late, self.sequence, self.timestamp));
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = self.timestamp.wrapping_add(160);
        }
        arrivals.sort_unstable();
        let end = self.now_us + ms * 1000;
        let mut arrivals = arrivals.into_iter().peekable();
        while self.now_us < end {
            self.now_us += INTERVAL_US;
            while let Some((at, sequence, timestamp)) =
                arrivals.next_if(|(at, ..)| *at <= self.now_us || self.now_us >= end)
            {
                let at = self.start + Duration::from_micros(at.min(self.now_us));
                deliver(&mut self.monitor, at, 0, 160, sequence, timestamp);
            }
            self.poll();
        }
    }

    fn deliver(&mut self, payload_type: u8, payload_len: usize) {
        let bytes = packet(payload_type, payload_len, self.sequence, self.timestamp, 7);
        let view = RtpView::new_checked(&bytes).unwrap();
        self.monitor
            .on_rtp(self.now(), &view, bytes.len(), &self.codecs.clone());
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    fn wait(&mut self, ms: u64) {
        for _ in 0..ms * 1000 / INTERVAL_US {
            self.now_us += INTERVAL_US;
            self.poll();
        }
    }

    fn rest_with_comfort_noise(&mut self, ms: u64) {
        for _ in 0..ms / 2000 {
            self.deliver(13, 1);
            self.timestamp = self.timestamp.wrapping_add(16_000 - 160);
            self.wait(2000);
        }
    }

    /// The table resets the monitor and takes no readings while nothing is expected.
    fn hold(&mut self, ms: u64) {
        self.monitor.reset_verdict(self.now());
        self.now_us += ms * 1000;
    }

    fn poll(&mut self) {
        self.verdict = self.monitor.poll_verdict(self.now(), &QualityThresholds::default()).0;
        let badness = match self.verdict {
            Verdict::Unknown => 0,
            Verdict::Good => 1,
            Verdict::Poor(_) => 2,
            Verdict::Dead => 3,
        };
        self.worst = self.worst.max(badness);
        if badness >= 2 && self.triggered_at_ms.is_none() {
            self.triggered_at_ms = Some((self.now_us - self.fault_from_us) / 1000);
        }
    }
}

fn deliver(monitor: &mut Monitor, at: Instant, payload_type: u8, payload_len: usize, sequence: u16, timestamp: u32) {
    let bytes = packet(payload_type, payload_len, sequence, timestamp, 7);
    let view = RtpView::new_checked(&bytes).unwrap();
    monitor.on_rtp(at, &view, bytes.len(), &CodecHint::default());
}

fn packet(payload_type: u8, payload_len: usize, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.resize(12 + payload_len, 0xd5);
    bytes
}

/// Tests run in virtual time; the clock gives them a place to start.
#[expect(clippy::disallowed_methods, reason = "an `Instant` can be had from the clock alone")]
fn origin() -> Instant {
    Instant::now()
}
