//! Calls that must not get through: with bad tickets through alpha's edge, and raw at beta's door.
//!
//! It expects refusals that a call agent can act on: silence counts as wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_peers::agent::{Call, CallFailure, PlaceOptions};
use tollgate_peers::certs::Identity;
use tollgate_peers::raw::{RawClient, RawTarget, SdesKey};

use super::calls::GOOD_EACH_WAY;
use super::company::Line;
use super::stage::{Papers, Stage};
use super::tickets::Flaw;

/// One refusal, expected and met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What was tried.
    pub(super) what: String,
    /// What should come of it.
    pub(super) expected: &'static str,
    /// What came of it.
    pub(super) happened: String,
    /// Whether the two agree.
    pub(super) is_right: bool,
}

/// Tries every flawed ticket through alpha's edge, and three raw calls at beta's.
pub(super) async fn try_all(stage: &Stage) -> Vec<Refusal> {
    let mut refusals = through_edge(stage).await;
    let Papers {
        alpha,
        stranger,
        alphas_ticket,
        ..
    } = &stage.papers;
    let first = stage.companies[1].number(Line::Good(0));
    let second = stage.companies[1].number(Line::Good(1));
    let raw = [
        ("raw TLS as alpha: no ticket", alpha, &first, None),
        (
            "raw TLS as alpha: ticket for another number",
            alpha,
            &second,
            Some(alphas_ticket),
        ),
        (
            "raw TLS as gamma: alpha's ticket",
            stranger,
            &first,
            Some(alphas_ticket),
        ),
    ];
    for (what, identity, number, ticket) in raw {
        refusals.push(at_the_door(stage, what, identity, number, ticket.map(String::as_str)).await);
    }
    refusals
}

/// Initial INVITEs at the agents to numbers that nobody may call, and beyond those that were placed.
pub(super) fn strangers_at(stage: &Stage) -> Vec<String> {
    let [alpha, beta] = &stage.companies;
    let good = |called: &super::company::Company| (0..GOOD_EACH_WAY).map(|at| called.number(Line::Good(at))).collect();
    let mut to_alpha: Vec<String> = good(alpha);
    let mut to_beta: Vec<String> = good(beta);
    to_beta.extend([beta.number(Line::Hold), beta.number(Line::Fallback)]);
    let mut strangers = Vec::new();
    for (agent, allowed) in stage.agents.iter().zip([&mut to_alpha, &mut to_beta]) {
        for invite in agent.invites() {
            // Each number was called once: a second INVITE to it is a raw one that got through.
            match allowed.iter().position(|number| *number == invite.number) {
                Some(at) => drop(allowed.swap_remove(at)),
                None => strangers.push(invite.number),
            }
        }
    }
    strangers
}

async fn through_edge(stage: &Stage) -> Vec<Refusal> {
    let mut trying = JoinSet::new();
    for (index, flaw) in (0..).zip(Flaw::ALL) {
        let agent = Arc::clone(&stage.agents[0]);
        let number = stage.companies[1].number(Line::Refused(index));
        trying.spawn(async move { (index, flaw, agent.place(&number, PlaceOptions::default()).await) });
    }
    let mut outcomes = trying.join_all().await;
    outcomes.sort_by_key(|(index, ..)| *index);
    outcomes
        .into_iter()
        .map(|(_, flaw, outcome)| judge(flaw, &outcome))
        .collect()
}

fn judge(flaw: Flaw, outcome: &Result<Call, CallFailure>) -> Refusal {
    let (happened, is_right) = match outcome {
        Ok(_) => ("the call came up".to_owned(), false),
        Err(why) => {
            let reason = why.reason.as_deref().unwrap_or("no Reason");
            let cause = reason.split(';').map(str::trim).find(|part| part.starts_with("cause="));
            let has_rung = why.provisionals.iter().any(|provisional| provisional.status > 100);
            let ringing = if has_rung { ", after ringing" } else { "" };
            (
                format!("{} ({}){ringing}", why.status, cause.unwrap_or(reason)),
                why.status == 503 && cause == Some("cause=403") && !has_rung,
            )
        }
    };
    Refusal {
        what: format!("call through alpha's edge: {}", flaw.name()),
        expected: "503 (cause=403)",
        happened,
        is_right,
    }
}

/// Rings at beta's advertised address without an edge.
async fn at_the_door(stage: &Stage, what: &str, identity: &Identity, number: &str, ticket: Option<&str>) -> Refusal {
    let status = raw_status(stage, identity, &raw_invite(stage, number, ticket)).await;
    Refusal {
        what: what.to_owned(),
        expected: "403",
        is_right: status == Ok(Some(403)),
        happened: match status {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "no answer".to_owned(),
            Err(why) => why,
        },
    }
}

async fn raw_status(stage: &Stage, identity: &Identity, invite: &str) -> Result<Option<u16>, String> {
    let beta = &stage.companies[1];
    let target = RawTarget {
        address: beta.advertised,
        server_name: beta.domain,
        ca_pem: &stage.papers.ca_pem,
        source: None,
    };
    let mut client = RawClient::connect(target, Some(identity))
        .await
        .map_err(|why| why.to_string())?;
    client.send(invite.as_bytes()).await.map_err(|why| why.to_string())?;
    let answer = client.final_response(RAW_PATIENCE).await;
    Ok(answer.and_then(|answer| answer.status()))
}

fn raw_invite(stage: &Stage, number: &str, ticket: Option<&str>) -> String {
    let domain = stage.companies[1].domain;
    let ip = stage.companies[0].advertised.ip();
    let ticket = ticket.map_or_else(String::new, |ticket| format!("X-Cisco-UC-IME-Ticket: {ticket}\r\n"));
    let crypto = SdesKey::generate(1, "AEAD_AES_256_GCM").map_or_else(String::new, |key| key.crypto_line());
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 20000 RTP/SAVP 8 0\r\n\
         a=crypto:{crypto}\r\n"
    );
    let (call, branch, tag): (u64, u64, u32) = rand::random();
    format!(
        "INVITE sip:{number}@{domain};user=phone SIP/2.0\r\nVia: SIP/2.0/TLS {ip}:5061;branch=z9hG4bK{branch:x}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+16465550198@alpha.example>;tag={tag:x}\r\nTo: <sip:{number}@{domain}>\r\n\
         Call-ID: {call:x}@alpha.example\r\nCSeq: 1 INVITE\r\nContact: <sip:raw@{ip}:5061;transport=tls>\r\n{ticket}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

/// How long a raw call waits for its answer.
const RAW_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_503_with_the_peers_own_cause_before_ringing_is_right() {
        let failure = |status, reason: Option<&str>| CallFailure {
            status,
            reason: reason.map(str::to_owned),
            response: None,
            provisionals: Vec::new(),
            elapsed: Duration::ZERO,
        };
        let right = judge(
            Flaw::Expired,
            &Err(failure(503, Some("SIP;cause=403;text=\"Forbidden\""))),
        );
        assert!(right.is_right, "{right:?}");
        for (status, reason) in [
            (503, None),
            (503, Some("SIP;cause=4030")),
            (403, Some("SIP;cause=403")),
            (408, None),
        ] {
            assert!(!judge(Flaw::Expired, &Err(failure(status, reason))).is_right);
        }
    }
}
