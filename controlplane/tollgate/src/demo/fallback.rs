//! A call whose path turns bad until the edge asks the agent to take it back to the PSTN.
//!
//! The PSTN is only played: the agent hangs up a moment after the REFER, as one does whose other call is up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tollgate_peers::agent::{AnswerBehaviour, Call, CallEnd, PlaceOptions, Refer, ReferBehaviour};
use tollgate_peers::relay::{Impairment, Toward};

use super::PATIENCE;
use super::company::Line;
use super::hold::next_call_to;
use super::progress::Progress;
use super::stage::Stage;

/// The call, both ends of it.
#[derive(Debug)]
pub(super) struct Pair {
    near: Call,
    far: Call,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Moved {
    /// REFERs that came to either agent.
    pub(super) refers: u64,
    /// From the first lost packet allowed to the REFER.
    pub(super) since_impairment: Duration,
    /// Share of packets lost toward the caller while the path was bad, as the agents count.
    pub(super) loss_ratio: f64,
    /// Whether the REFER names the number called.
    pub(super) names_number: bool,
    /// Whether the far agent saw the call end.
    pub(super) has_ended: bool,
    /// From the INVITE to its 200.
    pub(super) setup: Duration,
    /// Call-IDs at the caller and the called agent.
    pub(super) call_ids: [String; 2],
}

impl Moved {
    /// Whether one REFER came, for the right party, after the hold-down and not much later.
    pub(super) fn is_right(&self) -> bool {
        self.refers == 1
            && self.names_number
            && self.has_ended
            && IN_TIME.contains(&self.since_impairment.as_secs_f64())
    }
}

/// Places the call on a good path.
///
/// # Errors
/// In words, if it does not come up.
pub(super) async fn place(stage: &Stage) -> Result<Pair, String> {
    let [alpha, beta] = &stage.agents;
    beta.on_invite(AnswerBehaviour::default());
    alpha.on_refer(ReferBehaviour {
        bye_after: Some(PSTN_PAUSE),
        ..ReferBehaviour::default()
    });
    let number = stage.companies[1].number(Line::Fallback);
    let near = alpha
        .place(&number, PlaceOptions::default())
        .await
        .map_err(|why| why.to_string())?;
    let far = next_call_to(stage, &number)
        .await
        .ok_or("the call did not reach the other agent")?;
    Ok(Pair { near, far })
}

/// Spoils the path both ways until the REFER comes, and sees the call to its end.
///
/// # Errors
/// In words, if no REFER comes.
pub(super) async fn spoil_until_referred(stage: &Stage, pair: Pair, progress: &Arc<Progress>) -> Result<Moved, String> {
    let Pair { near, far } = pair;
    let number = stage.companies[1].number(Line::Fallback);
    let before = near.media();
    stage.relay.impair(Impairment {
        loss_ratio: LOSS_RATIO,
        toward: Toward::Both,
        ..Impairment::default()
    });
    let started = Instant::now();
    let refer = tokio::select! {
        refer = near.wait_refer(REFER_PATIENCE) => refer,
        () = count_seconds(started, progress) => None,
    };
    let since_impairment = started.elapsed();
    stage.relay.clear();
    let refer = refer.ok_or_else(|| format!("no REFER within {REFER_PATIENCE:?} at 30 % loss"))?;
    let after = near.media();
    let has_ended = far.wait_bye(PATIENCE).await == Some(CallEnd::FarSide);
    let (lost, received) = (after.lost.saturating_sub(before.lost), after.received - before.received);
    Ok(Moved {
        refers: refers_in(&near) + refers_in(&far),
        since_impairment,
        loss_ratio: lost as f64 / (lost + received).max(1) as f64,
        names_number: names(&refer, &number),
        has_ended,
        setup: near.setup,
        call_ids: [near.call_id(), far.call_id()],
    })
}

fn refers_in(call: &Call) -> u64 {
    call.log()
        .requests
        .iter()
        .filter(|request| request.method == "REFER")
        .count() as u64
}

fn names(refer: &Refer, number: &str) -> bool {
    let user = refer
        .refer_to
        .strip_prefix("sip:")
        .and_then(|rest| rest.split('@').next());
    user == Some(number)
}

/// Never ends; whoever waits with it does.
async fn count_seconds(started: Instant, progress: &Arc<Progress>) {
    loop {
        progress.say(format!(
            "30 % loss for {} s; the REFER is due after 20 s of it",
            started.elapsed().as_secs()
        ));
        sleep(Duration::from_millis(500)).await;
    }
}

/// Share of packets lost on the spoiled path.
const LOSS_RATIO: f64 = 0.3;

/// From the impairment to the REFER, seconds: the hold-down of 20 s, and up to the 5 s window to see that loss is high.
const IN_TIME: std::ops::Range<f64> = 20.0..26.0;

/// How long a REFER is awaited.
const REFER_PATIENCE: Duration = Duration::from_secs(32);

/// How long the agent takes for its call over the PSTN.
const PSTN_PAUSE: Duration = Duration::from_millis(300);
