//! One call held and resumed.
//!
//! It judges by packets: who hears whom while the call is held.

use std::time::Duration;

use tokio::time::sleep;
use tollgate_peers::agent::{AnswerBehaviour, Call, CallEnd, CallFailure, PlaceOptions};

use super::PATIENCE;
use super::company::Line;
use super::stage::Stage;

/// What the agents heard, in packets. The caller holds, so it goes on sending, as music on hold does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Heard by the caller and by the called agent before the hold.
    pub(super) before: [u64; 2],
    /// While held.
    pub(super) during: [u64; 2],
    /// After it.
    pub(super) after: [u64; 2],
    /// Payloads lost or with other bits, both ways, over the whole call.
    pub(super) spoiled: u64,
}

impl Held {
    /// Whether the hold was a hold and the resumed call a call.
    pub(super) fn is_right(&self) -> bool {
        let flows = |heard: [u64; 2]| heard.iter().all(|count| *count >= FEW);
        let [by_caller, by_called] = self.during;
        flows(self.before) && by_caller == 0 && by_called >= FEW && flows(self.after) && self.spoiled == 0
    }
}

/// Places the call, holds it, resumes it and hangs up.
///
/// # Errors
/// In words: the step that failed.
pub(super) async fn try_it(stage: &Stage) -> Result<Held, String> {
    let [alpha, beta] = &stage.agents;
    let number = stage.companies[1].number(Line::Hold);
    beta.on_invite(AnswerBehaviour::default());
    let failed = |step: &'static str| move |why: CallFailure| format!("{step}: {why}");
    let call = alpha
        .place(&number, PlaceOptions::default())
        .await
        .map_err(failed("call"))?;
    let far = next_call_to(stage, &number)
        .await
        .ok_or("the call did not reach the other agent")?;
    let mut held = Held {
        before: heard_in(&call, &far, STAGE).await,
        ..Held::default()
    };
    call.hold().await.map_err(failed("hold"))?;
    // Packets under way when the far side stopped are no part of the hold.
    sleep(SETTLE).await;
    held.during = heard_in(&call, &far, STAGE).await;
    call.resume().await.map_err(failed("resume"))?;
    sleep(SETTLE).await;
    held.after = heard_in(&call, &far, STAGE).await;
    call.bye().await.map_err(failed("BYE"))?;
    if far.wait_bye(PATIENCE).await != Some(CallEnd::FarSide) {
        return Err("the BYE did not reach the other agent".to_owned());
    }
    sleep(SETTLE).await;
    let reports = [call.media(), far.media()];
    held.spoiled = reports
        .iter()
        .map(|report| report.lost + report.mismatched + report.foreign)
        .sum();
    Ok(held)
}

/// The call to this number as beta's agent has it. Calls to other numbers are left to those who placed them.
pub(super) async fn next_call_to(stage: &Stage, number: &str) -> Option<Call> {
    let [_, beta] = &stage.agents;
    loop {
        let call = beta.next_call(PATIENCE).await?;
        if call.number == number {
            return Some(call);
        }
    }
}

async fn heard_in(call: &Call, far: &Call, span: Duration) -> [u64; 2] {
    let count = || [call.media().received, far.media().received];
    let from = count();
    sleep(span).await;
    let to = count();
    [to[0] - from[0], to[1] - from[1]]
}

/// How long each stage of the call is listened to: 40 packets.
const STAGE: Duration = Duration::from_millis(800);

/// How long a change takes at most to be heard.
const SETTLE: Duration = Duration::from_millis(150);

/// Packets that show media to flow, half of a stage's.
const FEW: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_hears_something_while_it_holds_is_wrong() {
        let right = Held {
            before: [40, 40],
            during: [0, 40],
            after: [40, 40],
            spoiled: 0,
        };
        assert!(right.is_right());
        assert!(
            !Held {
                during: [1, 40],
                ..right
            }
            .is_right()
        );
        assert!(
            !Held {
                during: [0, 0],
                ..right
            }
            .is_right()
        );
        assert!(
            !Held {
                after: [0, 40],
                ..right
            }
            .is_right()
        );
        assert!(!Held { spoiled: 1, ..right }.is_right());
    }
}
