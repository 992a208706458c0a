//! A call that is up, as a test holds it.
//!
//! Dropping it sends no BYE. RFC 3261 §14 and §15, RFC 3515.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rsip::Method;
use tokio::sync::watch;

use super::outbound::{acknowledge, invite, request};
use super::{CallFailure, PATIENCE, Provisional, Shared, lock, new_branch, since};
use crate::dialog::Dialog;
use crate::media::{MediaReport, MediaStream};
use crate::message::{Body, SipText, param, uri_of};
use crate::sdp::{Codec, Direction, SdpText, SdpView};

/// A call that is up.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) state: Arc<CallState>,
    /// The user part of the Request-URI of the INVITE.
    pub number: String,
    /// Provisional responses before the answer; empty for an incoming call.
    pub provisionals: Vec<Provisional>,
    /// From the INVITE to the final answer, or to its ACK for an incoming call.
    pub setup: Duration,
}

/// A request that came inside the dialog.
#[derive(Clone, Debug)]
pub struct InDialogRequest {
    /// Upper case.
    pub method: String,
    /// Its CSeq number.
    pub cseq: u32,
    /// When it came.
    pub at: Instant,
    /// The message.
    pub message: SipText,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// This agent sent BYE.
    Here,
    /// A BYE came.
    FarSide,
}

/// What happened in a call.
#[derive(Clone, Debug, Default)]
pub struct CallLog {
    /// Requests that came, retransmissions left out.
    pub requests: Vec<InDialogRequest>,
    /// Who ended it, and when.
    pub ended: Option<(CallEnd, Instant)>,
}

/// A REFER that came.
#[derive(Clone, Debug)]
pub struct Refer {
    /// The URI in Refer-To.
    pub refer_to: String,
    /// The From value.
    pub from: String,
    /// The CSeq number.
    pub cseq: u32,
    /// Since the call came up.
    pub elapsed: Duration,
    /// The message.
    pub message: SipText,
}

/// What the agent's tasks and the test share of a call.
#[derive(Debug)]
pub(super) struct CallState {
    pub(super) shared: Arc<Shared>,
    pub(super) dialog: Mutex<Dialog>,
    pub(super) media: MediaStream,
    pub(super) session: Mutex<Session>,
    pub(super) log: watch::Sender<CallLog>,
    pub(super) is_inviting: AtomicBool,
    started: Instant,
}

/// Our side of offer and answer.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    version: u32,
    pub(super) codecs: Vec<Codec>,
    pub(super) direction: Direction,
    advertised: Option<IpAddr>,
}

impl Session {
    pub(super) fn new(codecs: &[Codec], shared: &Shared) -> Self {
        Self {
            advertised: *lock(&shared.advertised_media),
            id: rand::random::<u64>() >> 2,
            version: 0,
            codecs: codecs.to_vec(),
            direction: Direction::SendRecv,
        }
    }

    /// Our description, one version up (RFC 3264 §8).
    pub(super) fn describe(&mut self, media: &MediaStream) -> Body {
        self.version += 1;
        let local = media.local();
        let text = SdpText {
            rtp: SocketAddr::new(self.advertised.unwrap_or_else(|| local.ip()), local.port()),
            codecs: &self.codecs,
            direction: self.direction,
            session: self.id,
            version: self.version,
            crypto: &[],
        };
        Body::sdp(text.write())
    }

    /// Takes an offer and writes the answer; `None` if no codec is shared.
    pub(super) fn answer(&mut self, offer: &SdpView, media: &MediaStream) -> Option<Body> {
        let shared = |codec: &Codec| offer.formats.contains(&codec.payload_type());
        let chosen = self.codecs.iter().copied().find(shared)?;
        self.direction = offer.direction.answered();
        let all = std::mem::replace(&mut self.codecs, vec![chosen]);
        let body = self.describe(media);
        self.codecs = all;
        media.apply(offer, self.direction.sends());
        media.set_codec(chosen);
        Some(body)
    }

    /// Takes the answer to our offer.
    pub(super) fn accept(&self, answer: &SdpView, media: &MediaStream) {
        media.apply(answer, self.direction.sends());
    }
}

impl CallState {
    pub(super) fn new(shared: &Arc<Shared>, dialog: Dialog, media: MediaStream, session: Session) -> Self {
        Self {
            shared: Arc::clone(shared),
            dialog: Mutex::new(dialog),
            media,
            session: Mutex::new(session),
            log: watch::Sender::default(),
            is_inviting: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Ends the call here: no media, no dialog.
    pub(super) fn end(&self, by: CallEnd) {
        self.media.stop();
        let call_id = lock(&self.dialog).call_id.clone();
        lock(&self.shared.calls).remove(&call_id);
        self.log.send_modify(|log| {
            log.ended.get_or_insert_with(|| (by, Instant::now()));
        });
    }

    pub(super) fn record(&self, method: Method, cseq: u32, message: &SipText) {
        let request = InDialogRequest {
            method: method.to_string(),
            cseq,
            at: Instant::now(),
            message: message.clone(),
        };
        self.log.send_modify(|log| log.requests.push(request));
    }

    pub(super) async fn bye(&self) -> Result<SipText, CallFailure> {
        let draft = lock(&self.dialog).next_request(Method::Bye, new_branch());
        self.end(CallEnd::Here);
        request(&self.shared, draft, PATIENCE).await
    }
}

impl Call {
    /// Puts the far side on hold with `a=sendonly`; this side goes on sending, as music on hold does.
    ///
    /// # Errors
    /// When the re-INVITE is refused.
    pub async fn hold(&self) -> Result<(), CallFailure> {
        self.renegotiate(Direction::SendOnly, None).await
    }

    /// Takes the far side off hold.
    ///
    /// # Errors
    /// When the re-INVITE is refused.
    pub async fn resume(&self) -> Result<(), CallFailure> {
        self.renegotiate(Direction::SendRecv, None).await
    }

    /// Offers this codec alone, in the present direction.
    ///
    /// # Errors
    /// When the re-INVITE is refused.
    pub async fn reinvite(&self, codec: Codec) -> Result<(), CallFailure> {
        let direction = lock(&self.state.session).direction;
        self.renegotiate(direction, Some(codec)).await
    }

    /// Sends a re-INVITE with this direction, and with this codec alone if one is given.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn renegotiate(&self, direction: Direction, codec: Option<Codec>) -> Result<(), CallFailure> {
        let state = &self.state;
        let body = {
            let mut session = lock(&state.session);
            session.direction = direction;
            if let Some(codec) = codec {
                session.codecs = vec![codec];
            }
            session.describe(&state.media)
        };
        let mut draft = lock(&state.dialog).next_request(Method::Invite, new_branch());
        draft.body = body;
        let cseq = draft.cseq;
        state.is_inviting.store(true, Ordering::Relaxed);
        let answered = invite(&state.shared, draft, PATIENCE, |_| {}).await;
        state.is_inviting.store(false, Ordering::Relaxed);
        let answered = answered?;
        let dialog = {
            let mut dialog = lock(&state.dialog);
            dialog.remote_target = answered
                .response
                .contact_uri()
                .unwrap_or_else(|| dialog.remote_target.clone());
            dialog.clone()
        };
        if let Some(answer) = SdpView::parse(answered.response.body()) {
            lock(&state.session).accept(&answer, &state.media);
        }
        acknowledge(&state.shared, &dialog, cseq, &answered.branch, Body::default()).await;
        Ok(())
    }

    /// Sends an INFO and returns the status of the answer.
    ///
    /// # Errors
    /// When no 2xx comes.
    pub async fn info(&self) -> Result<u16, CallFailure> {
        let mut draft = lock(&self.state.dialog).next_request(Method::Info, new_branch());
        draft.body = Body {
            content_type: "application/dtmf-relay",
            text: "Signal=5\r\nDuration=160\r\n".to_owned(),
        };
        request(&self.state.shared, draft, PATIENCE)
            .await
            .map(|response| response.status().unwrap_or(0))
    }

    /// Sends an OPTIONS inside the dialog and returns the status of the answer.
    ///
    /// # Errors
    /// When no 2xx comes.
    pub async fn options(&self) -> Result<u16, CallFailure> {
        let draft = lock(&self.state.dialog).next_request(Method::Options, new_branch());
        request(&self.state.shared, draft, PATIENCE)
            .await
            .map(|response| response.status().unwrap_or(0))
    }

    /// Sends a REFER inside the dialog and returns the status of the answer.
    ///
    /// # Errors
    /// When no 2xx comes.
    pub async fn refer(&self, refer_to: &str, with_subscription: bool) -> Result<u16, CallFailure> {
        let mut draft = lock(&self.state.dialog).next_request(Method::Refer, new_branch());
        draft.headers.push(("Refer-To".to_owned(), format!("<{refer_to}>")));
        if !with_subscription {
            draft.headers.push(("Refer-Sub".to_owned(), "false".to_owned()));
            draft.headers.push(("Supported".to_owned(), "norefersub".to_owned()));
        }
        request(&self.state.shared, draft, PATIENCE)
            .await
            .map(|response| response.status().unwrap_or(0))
    }

    /// Ends the call and waits for the answer to the BYE.
    ///
    /// # Errors
    /// When the BYE is refused or not answered; the call is over here all the same.
    pub async fn bye(&self) -> Result<(), CallFailure> {
        self.state.bye().await.map(drop)
    }

    /// Waits until the call has ended and says who ended it; `None` if it goes on.
    pub async fn wait_bye(&self, within: Duration) -> Option<CallEnd> {
        self.wait_log(within, |log| log.ended.map(|(by, _)| by)).await
    }

    /// Waits for a REFER; `None` if none comes in time.
    pub async fn wait_refer(&self, within: Duration) -> Option<Refer> {
        let found = self
            .wait_log(within, |log| {
                log.requests.iter().find(|request| request.method == "REFER").cloned()
            })
            .await?;
        Some(Refer {
            refer_to: uri_of(&found.message.header("Refer-To")?),
            from: found.message.header("From")?,
            cseq: found.cseq,
            elapsed: found.at.duration_since(self.state.started),
            message: found.message,
        })
    }

    /// Waits until `choose` finds something in the call's log; `None` if it does not in time.
    pub async fn wait_log<T>(&self, within: Duration, mut choose: impl FnMut(&CallLog) -> Option<T>) -> Option<T> {
        let mut log = self.state.log.subscribe();
        let found = log.wait_for(|log| choose(log).is_some());
        // The sender half lives in the call, so only time can end the wait; the last look decides.
        drop(tokio::time::timeout(within, found).await);
        let log = self.log();
        choose(&log)
    }

    /// What has happened so far.
    #[must_use]
    pub fn log(&self) -> CallLog {
        self.state.log.borrow().clone()
    }

    /// Since the call came up.
    #[must_use]
    pub fn age(&self) -> Duration {
        since(self.state.started)
    }

    /// The call's Call-ID on this leg.
    #[must_use]
    pub fn call_id(&self) -> String {
        lock(&self.state.dialog).call_id.clone()
    }

    /// The far side's tag, as this agent puts it into To.
    #[must_use]
    pub fn remote_tag(&self) -> Option<String> {
        param(&lock(&self.state.dialog).remote, "tag")
    }

    /// The media figures so far.
    #[must_use]
    pub fn media(&self) -> MediaReport {
        self.state.media.report()
    }

    /// Waits until this side's media script is sent, then up to 500 ms for what is still under way.
    pub async fn media_done(&self) -> MediaReport {
        self.state.media.wait_sent().await;
        self.state.media.drain().await;
        self.state.media.report()
    }
}
