//! Many calls at once, with media both ways, compared bit for bit: through the edges, and the same without them.
//!
//! It retries nothing: a call that fails is a finding.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tollgate_peers::agent::{AgentConfig, AnswerBehaviour, Call, CallAgent, CallEnd, PlaceOptions, SipTransport};
use tollgate_peers::relay::{Relay, RelayConfig, RelayEdge};
use tollgate_peers::{FIRST_MEDIA_PORT, MediaReport, MediaScript};

use super::PATIENCE;
use super::company::{Line, loopback};
use super::progress::Progress;
use super::stage::Stage;

/// What came of a batch of calls.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Calls tried.
    pub(super) attempted: u64,
    /// Calls that came up at both agents, in order of their labels.
    pub(super) talks: Vec<Talk>,
    /// What went wrong, with these or others.
    pub(super) failures: Vec<String>,
}

/// One call that came up.
#[derive(Debug)]
pub(super) struct Talk {
    /// Which call it was.
    pub(super) label: Label,
    /// From the INVITE to its 200, as the caller saw it.
    pub(super) setup: Duration,
    /// Call-ID at the caller and at the called agent.
    pub(super) call_ids: [String; 2],
    /// What the caller and the called agent saw of the media.
    pub(super) reports: [MediaReport; 2],
    /// Whether its BYE was answered and reached the other agent.
    pub(super) has_ended: bool,
}

/// Names a call: who called, and on which line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    /// Index of the calling company.
    pub(super) caller: usize,
    /// The number called.
    pub(super) number: String,
}

/// The batch without edges, and how the detector met its plain packets.
#[derive(Debug)]
pub(super) struct Baseline {
    /// The calls.
    pub(super) batch: Batch,
    /// Packets the detector flagged; all but RTCP should be.
    pub(super) flagged_packets: u64,
    /// Texts it flagged on plain SIP connections.
    pub(super) flagged_texts: u64,
}

impl Batch {
    /// Calls that came up, talked and ended as they should.
    pub(super) fn completed(&self) -> u64 {
        self.talks.iter().filter(|talk| talk.has_ended).count() as u64
    }

    /// Packets the agents sent.
    pub(super) fn sent(&self) -> u64 {
        self.sum(|report| report.sent)
    }

    /// Payloads that arrived bit for bit.
    pub(super) fn received(&self) -> u64 {
        self.sum(|report| report.received)
    }

    /// Payloads sent that did not arrive.
    pub(super) fn lost(&self) -> u64 {
        self.sent().saturating_sub(self.received())
    }

    /// Packets that arrived with other bits, or in another call than they were sent in.
    pub(super) fn mismatched(&self) -> u64 {
        self.sum(|report| report.mismatched + report.foreign) + self.talks.iter().map(Talk::strays).sum::<u64>()
    }

    /// A quantile of the one-way delay from socket to socket, microseconds.
    pub(super) fn latency_us(&self, quantile: f64) -> u64 {
        let mut reports = self.talks.iter().flat_map(|talk| &talk.reports);
        let Some(first) = reports.next() else { return 0 };
        let mut all = first.latency_us.clone();
        for report in reports {
            // The histograms have one layout, so adding cannot fail.
            let _ = all.add(&report.latency_us);
        }
        all.value_at_quantile(quantile)
    }

    fn sum(&self, field: impl Fn(&MediaReport) -> u64) -> u64 {
        self.talks.iter().flat_map(|talk| &talk.reports).map(field).sum()
    }
}

impl Talk {
    /// Payloads received that belong to another call.
    fn strays(&self) -> u64 {
        let [near, far] = &self.reports;
        [(near, far), (far, near)]
            .into_iter()
            .filter(|(own, other)| own.received_stream.is_some_and(|stream| stream != other.sent_stream))
            .map(|(own, _)| own.received)
            .sum()
    }
}

/// The good calls: half of them each way, all at once.
pub(super) async fn through_edges(stage: &Stage, progress: &Arc<Progress>) -> Batch {
    progress.say(format!(
        "{} calls at once through both edges, {} s of G.711 each way",
        2 * GOOD_EACH_WAY,
        TALK.as_secs()
    ));
    let [alpha, beta] = &stage.companies;
    let numbers = [beta, alpha].map(|called| {
        (0..GOOD_EACH_WAY)
            .map(|index| called.number(Line::Good(index)))
            .collect()
    });
    run(&stage.agents, numbers).await
}

/// The same calls between two agents of their own, with only a relay on the way.
///
/// # Errors
/// In words, if an address cannot be bound.
pub(super) async fn without_edges(stage: &Stage, progress: &Arc<Progress>) -> Result<Baseline, String> {
    progress.say(format!(
        "the same {} calls without the edges, to compare with",
        2 * GOOD_EACH_WAY
    ));
    let sides = [1, 2].map(|host| {
        let (own, advertised) = (loopback(stage.network, 30, host), loopback(stage.network, 31, host));
        RelayEdge {
            advertised_sip: (advertised, 5060).into(),
            bound_sip: (own, 5060).into(),
            advertised_media: advertised,
            bound_media: own,
            first_port: FIRST_MEDIA_PORT,
            port_count: BASELINE_PORTS,
        }
    });
    let wrong = |why: std::io::Error| format!("the path without edges cannot be bound: {why}");
    let relay = Relay::start(RelayConfig {
        edges: sides.to_vec(),
        book: stage.book.clone(),
        texts: vec!["SIP/2.0".to_owned()],
        seed: 0,
    });
    let relay = relay.await.map_err(wrong)?;
    let [near, far] = &sides;
    let agents = [
        bind_plain(stage, near, far).await.map_err(wrong)?,
        bind_plain(stage, far, near).await.map_err(wrong)?,
    ];
    let [alpha, beta] = &stage.companies;
    let numbers = [beta, alpha].map(|called| {
        (0..GOOD_EACH_WAY)
            .map(|index| called.number(Line::Good(index)))
            .collect()
    });
    let batch = run(&agents, numbers).await;
    let counters = relay.counters();
    Ok(Baseline {
        batch,
        flagged_packets: counters.cleartext_packets,
        flagged_texts: counters.cleartext_texts,
    })
}

async fn bind_plain(stage: &Stage, own: &RelayEdge, other: &RelayEdge) -> std::io::Result<Arc<CallAgent>> {
    let agent = CallAgent::bind(AgentConfig {
        name: "agent".to_owned(),
        domain: "plain.example".to_owned(),
        listen: own.bound_sip,
        edge: other.advertised_sip,
        edge_transport: SipTransport::Tcp,
        media_ip: own.bound_media,
        book: stage.book.clone(),
    });
    let agent = agent.await?;
    agent.advertise_media(own.advertised_media);
    Ok(Arc::new(agent))
}

/// Places calls to `numbers[i]` from `agents[i]`, all at once, and hears them to their end.
async fn run(agents: &[Arc<CallAgent>; 2], numbers: [Vec<String>; 2]) -> Batch {
    for agent in agents {
        agent.on_invite(AnswerBehaviour {
            media: TALK_SCRIPT,
            ..AnswerBehaviour::default()
        });
    }
    let expected = numbers.each_ref().map(Vec::len);
    let mut placing = JoinSet::new();
    for (caller, numbers) in numbers.into_iter().enumerate() {
        for number in numbers {
            let (agent, label) = (Arc::clone(&agents[caller]), Label { caller, number });
            placing.spawn(async move {
                let options = PlaceOptions {
                    media: TALK_SCRIPT,
                    ..PlaceOptions::default()
                };
                let call = agent.place(&label.number, options).await;
                (label, call)
            });
        }
    }
    let attempted = placing.len() as u64;
    let [to_beta, to_alpha] = expected;
    let arrivals = async { tokio::join!(take_calls(&agents[1], to_beta), take_calls(&agents[0], to_alpha)) };
    let (placed, (at_beta, at_alpha)) = tokio::join!(placing.join_all(), arrivals);
    let mut arrived = [at_beta, at_alpha];
    let mut batch = Batch {
        attempted,
        ..Batch::default()
    };
    let mut talking = JoinSet::new();
    for (label, call) in placed {
        let far = arrived
            .get_mut(label.caller)
            .and_then(|calls| take(calls, &label.number));
        match (call, far) {
            (Ok(call), Some(far)) => drop(talking.spawn(talk(label, call, far))),
            (Ok(_), None) => batch
                .failures
                .push(format!("{}: answered, but not at the other agent", label.number)),
            (Err(why), _) => batch.failures.push(format!("{}: {why}", label.number)),
        }
    }
    for (talk, fault) in talking.join_all().await {
        batch.talks.push(talk);
        batch.failures.extend(fault);
    }
    batch.talks.sort_by(|one, other| one.label.cmp(&other.label));
    batch
}

async fn take_calls(agent: &CallAgent, count: usize) -> Vec<Call> {
    let deadline = Instant::now() + PATIENCE;
    let mut calls = Vec::new();
    while calls.len() < count {
        let Ok(Some(call)) = timeout_at(deadline, agent.next_call(PATIENCE)).await else {
            break;
        };
        calls.push(call);
    }
    calls
}

fn take(calls: &mut Vec<Call>, number: &str) -> Option<Call> {
    let at = calls.iter().position(|call| call.number == number)?;
    Some(calls.swap_remove(at))
}

/// Hears one call to the end of its media and hangs up; the text says what went wrong with the latter.
async fn talk(label: Label, near: Call, far: Call) -> (Talk, Option<String>) {
    tokio::join!(near.media_done(), far.media_done());
    let fault = match near.bye().await {
        Err(why) => Some(format!("{}: BYE: {why}", label.number)),
        Ok(()) if far.wait_bye(PATIENCE).await != Some(CallEnd::FarSide) => {
            Some(format!("{}: the BYE did not reach the other agent", label.number))
        }
        Ok(()) => None,
    };
    let talk = Talk {
        setup: near.setup,
        call_ids: [near.call_id(), far.call_id()],
        // Read last, so that a packet that came late or twice counts.
        reports: [near.media(), far.media()],
        has_ended: fault.is_none(),
        label,
    };
    (talk, fault)
}

/// Good calls in each direction.
pub(super) const GOOD_EACH_WAY: u16 = 10;

/// How long each good call talks.
const TALK: Duration = Duration::from_secs(5);

const TALK_SCRIPT: MediaScript = MediaScript {
    duration: Some(TALK),
    rtcp: true,
};

/// Ports the relay without edges holds: agents take the first of their range, two a call.
const BASELINE_PORTS: u16 = 256;
