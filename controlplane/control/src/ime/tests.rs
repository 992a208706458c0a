use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tollgate_contract::{CallEnded, CallOutcome, FallbackEvent, FallbackTrigger, Side, Way};
use tollgate_policy::ValidatorAddress;
use tollgate_validator::InstanceId;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::{Fact, RouteFeedback, RouteOutcome, UpFact};
use tollgate_validator::feed::session::{Bounds, Source, Writer, WriterConfig, WriterOutput};
use tollgate_validator::vap::session::Retry;

use super::client::{End, Line, Pauses, now};
use super::*;
use crate::learned::{FactsDocument, Scope};

const RECONNECT: Duration = Duration::from_secs(5);

#[test]
fn a_loss_is_followed_by_the_policys_pause_and_a_refusal_by_longer_and_longer_ones() {
    let mut pauses = Pauses::new(RECONNECT);
    let lost = End::Lost("connect");
    assert_eq!(
        [pauses.after(lost, None), pauses.after(lost, None)],
        [Some(RECONNECT); 2]
    );
    let refused = End::Closed("integrity_failure", Retry::Later);
    let seconds: Vec<u64> = (0..9).map(|_| pauses.after(refused, None).unwrap().as_secs()).collect();
    assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    assert_eq!(
        pauses.after(refused, Some(Duration::from_secs(59))).unwrap().as_secs(),
        600
    );
    assert_eq!(pauses.after(refused, Some(Duration::from_secs(60))), Some(RECONNECT));
}

#[test]
fn only_a_session_that_stood_is_renewed_at_once() {
    let mut pauses = Pauses::new(RECONNECT);
    let forgotten = End::Closed("bad_handle", Retry::AtOnce);
    assert_eq!(
        pauses.after(forgotten, Some(Duration::from_secs(600))),
        Some(Duration::ZERO)
    );
    assert_eq!(pauses.after(forgotten, Some(Duration::from_secs(1))), Some(RECONNECT));
    assert_eq!(pauses.after(End::Closed("version", Retry::Never), None), None);
}

#[tokio::test(start_paused = true)]
async fn time_that_the_control_loop_takes_is_no_silence_of_the_validators() {
    let mut stage = Stage::of(1);
    for number in 0..8 {
        stage.source.publish(&route(number), now().unix).unwrap();
    }
    // So long that no sign of life waits to be read when the control loop comes back.
    stage.heartbeat = Duration::from_secs(8);
    stage.begin();
    assert!(matches!(stage.event().await, ValidatorEvent::Up { .. }));
    // Longer than the limit of silence, and nothing is taken meanwhile.
    sleep(Duration::from_secs(7)).await;
    for _ in 0..8 {
        assert!(matches!(stage.event().await, ValidatorEvent::Batch { .. }));
    }
    sleep(Duration::from_millis(500)).await;
    assert!(stage.stats.is_up() && stage.stats.disconnects("heartbeat_timeout") == 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_told_waits_for_the_session() {
    let mut stage = Stage::paused();
    for _ in 0..3 {
        stage.up.try_send(UpFact::Feedback(feedback())).unwrap();
    }
    stage.begin();
    assert!(matches!(stage.event().await, ValidatorEvent::Up { .. }));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.stats.told("feedback"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_long_limit_of_silence_does_not_make_us_silent() {
    let mut stage = Stage::with(16, Duration::from_secs(3_600));
    stage.begin();
    assert!(matches!(stage.event().await, ValidatorEvent::Up { .. }));
    // The validator gives us up after 15 s of silence.
    sleep(Duration::from_secs(60)).await;
    assert!(stage.stats.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_validator_that_takes_nothing_is_lost() {
    let stage = Stage::silent();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(stage.stats.disconnects("hello_timeout"), 1);
}

#[test]
fn results_of_calls_say_what_the_route_was_good_for() {
    let outcome = |outcome, reason, answered: bool| {
        let call = CallEnded {
            answer: answered.then_some(Duration::from_secs(1)),
            ..call(outcome, reason)
        };
        CallResult::of(&call).and_then(|result| result.outcome)
    };
    use CallOutcome::{Cancelled, Completed, FellBackAtSetup, Rejected};
    assert_eq!(outcome(Completed, "bye", true), Some(RouteOutcome::Ok));
    assert_eq!(
        outcome(FellBackAtSetup, "tls_name_mismatch", false),
        Some(RouteOutcome::TlsNameMismatch)
    );
    assert_eq!(
        outcome(FellBackAtSetup, "connect_timeout", false),
        Some(RouteOutcome::ConnectFailed)
    );
    assert_eq!(outcome(FellBackAtSetup, "overload", false), None);
    assert_eq!(outcome(Rejected, "refused", false), None, "a person said no");
    for (status, wanted) in [(403, Some(RouteOutcome::Forbidden)), (503, None)] {
        let call = CallEnded {
            peer_status: Some(status),
            ..call(FellBackAtSetup, "refused_by_peer")
        };
        assert_eq!(
            CallResult::of(&call).and_then(|result| result.outcome),
            wanted,
            "{status}"
        );
    }
    assert_eq!(outcome(Cancelled, "cancelled", false), None);
    let inbound = CallEnded {
        way: Way::Inbound,
        ..call(Completed, "bye")
    };
    assert_eq!(CallResult::of(&inbound), None);
}

#[test]
fn a_call_that_went_back_to_the_pstn_is_told_with_what_was_measured() {
    let mut call = call(CallOutcome::FellBackInCall, "bye");
    call.call_id_outside = "x".repeat(200);
    call.fallback = Some(FallbackEvent {
        call_id_inside: "secret@10.0.0.1".into(),
        trigger: FallbackTrigger::Loss,
        side: Side::Outside,
        loss_ratio: 0.1234,
        jitter_us: 7,
        since_trigger: Duration::from_millis(2_500),
        stage: "ended",
    });
    let (reference, metrics) = CallResult::of(&call).unwrap().fallback.unwrap();
    assert_eq!(
        (reference.len(), metrics.loss_permille, metrics.jitter_us),
        (128, 123, 7)
    );
}

#[test]
fn results_that_find_no_place_are_counted() {
    let stats = Arc::new(ValidatorStats::default());
    let (sender, _results) = call_results(Arc::clone(&stats));
    let call = CallEnded {
        answer: Some(Duration::from_secs(1)),
        ..call(CallOutcome::Completed, "bye")
    };
    (0..UP_QUEUE + 5).for_each(|_| sender.note(&call));
    assert_eq!(stats.untold("queue_full"), 5);
}

/// A line over a pipe, and a validator's writer at its other end.
struct Stage {
    events: mpsc::Receiver<ValidatorEvent>,
    up: mpsc::Sender<UpFact>,
    stats: Arc<ValidatorStats>,
    parts: Option<(Line, DuplexStream, DuplexStream)>,
    source: Source,
    heartbeat: Duration,
    tasks: Vec<JoinHandle<()>>,
    _rules: watch::Sender<RouteRules>,
}

impl Stage {
    fn paused() -> Self {
        Self::of(16)
    }

    /// The validator never reads nor writes.
    fn silent() -> Self {
        let mut stage = Self::of(16);
        let (mut line, near, far) = stage.parts.take().unwrap();
        stage.tasks.push(tokio::spawn(async move {
            line.converse(near).await;
            drop(far);
        }));
        stage
    }

    fn of(places: usize) -> Self {
        Self::with(places, Duration::from_secs(6))
    }

    fn with(places: usize, silence: Duration) -> Self {
        let (event_tx, events) = mpsc::channel(places);
        let (up, up_rx) = mpsc::channel(UP_QUEUE);
        let (rules_tx, rules) = watch::channel(RouteRules::default());
        let channels = ValidatorChannels {
            events: event_tx,
            up: up_rx,
            rules,
        };
        let settings = ValidatorSettings {
            address: ValidatorAddress::Unix(PathBuf::new()),
            vap: None,
            peer_uid: None,
            tls: None,
            reconnect: RECONNECT,
            silence,
            routes_max: 100,
        };
        let source = Source::new(InstanceId([1; 16]), 1, Bounds::default());
        // The reader stands at the source's beginning, so that all it is told are changes.
        let start = Start {
            position: tollgate_validator::feed::session::Position {
                instance: source.instance(),
                generation: 1,
                revision: 0,
            },
            facts: Vec::new(),
        };
        let stats = Arc::new(ValidatorStats::default());
        let line = Line::new(&settings, Some(start), channels, Arc::clone(&stats));
        let (near, far) = duplex(64 << 10);
        Self {
            events,
            up,
            stats,
            parts: Some((line, near, far)),
            source,
            heartbeat: WriterConfig::default().heartbeat_interval,
            tasks: Vec::new(),
            _rules: rules_tx,
        }
    }

    fn begin(&mut self) {
        let (mut line, near, far) = self.parts.take().unwrap();
        let source = std::mem::replace(&mut self.source, Source::new(InstanceId([1; 16]), 1, Bounds::default()));
        self.tasks.push(tokio::spawn(async move {
            line.converse(near).await;
        }));
        self.tasks.push(tokio::spawn(write(far, source, self.heartbeat)));
    }

    async fn event(&mut self) -> ValidatorEvent {
        timeout(Duration::from_secs(60), self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A validator's end that keeps the rules.
async fn write(mut wire: DuplexStream, source: Source, heartbeat_interval: Duration) {
    let config = WriterConfig {
        heartbeat_interval,
        ..WriterConfig::default()
    };
    let mut writer = Writer::new(config, now());
    let mut chunk = [0; 4_096];
    loop {
        while let Some(output) = writer.poll_output(&source) {
            match output {
                WriterOutput::Send(frame) => wire.write_all(frame.bytes()).await.unwrap(),
                WriterOutput::Close(_) => return,
                WriterOutput::Up(_) | WriterOutput::Report(_) => {}
            }
        }
        let due = writer
            .poll_timeout()
            .map_or_else(|| Instant::now() + RECONNECT, Instant::from_std);
        match tokio::time::timeout_at(due, wire.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(count)) => writer.handle_bytes(now(), &source, &chunk[..count]),
            Err(_) => writer.handle_timeout(now(), &source),
        }
    }
}

fn route(number: u32) -> Fact {
    let text = format!(
        r#"{{"routes":[{{"number":"+1408555{number:04}","domain":"peer.example","targets":["192.0.2.4:5061"],
            "ticket":"AAEAEGunuBCdrUHRgLQAwE_UMMg."}}]}}"#
    );
    let document: FactsDocument = serde_json::from_str(&text).unwrap();
    let batch = document
        .batch(Scope::Delta, &RouteRules::default(), now().unix)
        .unwrap();
    batch.facts.into_iter().next().unwrap()
}

fn feedback() -> RouteFeedback {
    RouteFeedback {
        route_id: "r-1".parse().unwrap(),
        outcome: RouteOutcome::Ok,
        count: 1,
        window: Duration::from_secs(10),
    }
}

fn call(outcome: CallOutcome, reason: &'static str) -> CallEnded {
    CallEnded {
        call_id_inside: "inside".into(),
        call_id_outside: "outside".into(),
        way: Way::Outbound,
        called: "+14085550001".parse().ok(),
        peer_domain: "peer.example".into(),
        ticket: None,
        outcome,
        reason,
        status: 403,
        peer_status: None,
        started: Duration::ZERO,
        setup: None,
        answer: None,
        talk: None,
        media: Vec::new(),
        fallback: None,
    }
}
