//! Requests an agent makes: new calls above all.
//!
//! It makes no decision about rerouting; a refusal is handed to the test. RFC 3261 §13.2, §9.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rsip::Method;

use super::call::{Call, CallState, Session};
use super::transaction::ClientTransaction;
use super::{CallFailure, PlaceOptions, Provisional, Shared, lock, new_branch, new_tag, since};
use crate::dialog::{Dialog, next_hop};
use crate::media::MediaStream;
use crate::message::{Body, RequestDraft, SipText};
use crate::sdp::SdpView;

/// A 2xx to an INVITE, to be acknowledged by the caller.
pub(super) struct Answered {
    pub(super) response: SipText,
    pub(super) branch: String,
    pub(super) provisionals: Vec<Provisional>,
    pub(super) elapsed: Duration,
}

/// Places a call.
pub(super) async fn place(shared: &Arc<Shared>, number: &str, options: PlaceOptions) -> Result<Call, CallFailure> {
    let media = MediaStream::open(shared.config.media_ip, &shared.config.book, options.media).await;
    let media = media.map_err(|error| local_failure(Instant::now(), &error))?;
    let mut session = Session::new(&options.codecs, shared);
    let mut dialog = new_dialog(shared, number, &options);
    let mut draft = dialog.next_request(Method::Invite, new_branch());
    draft.headers.push(("Allow".to_owned(), ALLOW.to_owned()));
    draft.headers.extend(options.extra_headers.iter().cloned());
    if !options.delayed_offer {
        draft.body = session.describe(&media);
    }
    let cseq = draft.cseq;
    let answered = invite(shared, draft, options.timeout, |response| {
        if let Some(early) = SdpView::parse(response.body()) {
            // Early media is heard; this side speaks once the call is answered.
            media.apply(&early, false);
        }
    })
    .await?;
    dialog.on_answer(&answered.response);
    let ack_body = match SdpView::parse(answered.response.body()) {
        Some(offer) if options.delayed_offer => session.answer(&offer, &media).unwrap_or_default(),
        Some(answer) => {
            session.accept(&answer, &media);
            Body::default()
        }
        None => Body::default(),
    };
    // In the map before the ACK, so that an in-dialog request answering it finds the call.
    let state = Arc::new(CallState::new(shared, dialog.clone(), media, session));
    lock(&shared.calls).insert(dialog.call_id.clone(), Arc::clone(&state));
    acknowledge(shared, &dialog, cseq, &answered.branch, ack_body).await;
    state.media.start();
    Ok(Call {
        state,
        number: number.to_owned(),
        provisionals: answered.provisionals,
        setup: answered.elapsed,
    })
}

/// Sends OPTIONS outside any dialog.
pub(super) async fn ping(shared: &Arc<Shared>, within: Duration) -> Result<u16, CallFailure> {
    let options = PlaceOptions::default();
    let mut dialog = new_dialog(shared, "", &options);
    dialog.remote_target = format!("sip:{}", shared.config.edge);
    dialog.remote = format!("<sip:{}>", shared.config.edge);
    let draft = dialog.next_request(Method::Options, new_branch());
    let started = Instant::now();
    let mut transaction = to_edge(shared, draft)
        .await
        .map_err(|error| local_failure(started, &error))?;
    let response = transaction.final_response((started + within).into()).await;
    response
        .and_then(|response| response.status())
        .ok_or_else(|| failure(None, Vec::new(), started))
}

/// Sends a request inside a dialog and takes only 2xx for success.
pub(super) async fn request(
    shared: &Arc<Shared>,
    draft: RequestDraft,
    within: Duration,
) -> Result<SipText, CallFailure> {
    let started = Instant::now();
    let transaction = ClientTransaction::start(shared, draft).await;
    let mut transaction = transaction.map_err(|error| local_failure(started, &error))?;
    match transaction.final_response((started + within).into()).await {
        Some(response) if response.status().is_some_and(|status| status < 300) => Ok(response),
        response => Err(failure(response, Vec::new(), started)),
    }
}

/// Runs an INVITE to its final answer; a refusal is acknowledged, silence is cancelled.
pub(super) async fn invite(
    shared: &Arc<Shared>,
    draft: RequestDraft,
    within: Duration,
    on_provisional: impl Fn(&SipText),
) -> Result<Answered, CallFailure> {
    let started = Instant::now();
    let is_initial = crate::message::param(&draft.to, "tag").is_none();
    let transaction = if is_initial {
        to_edge(shared, draft).await
    } else {
        ClientTransaction::start(shared, draft).await
    };
    let mut transaction = transaction.map_err(|error| local_failure(started, &error))?;
    let mut provisionals = Vec::new();
    let deadline = (started + within).into();
    while let Some(response) = transaction.next_response(deadline).await {
        let status = response.status().unwrap_or(0);
        if status >= 200 {
            return finish(&transaction, response, provisionals, started).await;
        }
        on_provisional(&response);
        provisionals.push(Provisional {
            status,
            has_sdp: !response.body().is_empty(),
            elapsed: since(started),
        });
    }
    cancel(shared, transaction, provisionals, started).await
}

/// Sends the ACK to a 2xx and keeps it for repetitions of that 2xx (§13.2.2.4).
pub(super) async fn acknowledge(shared: &Arc<Shared>, dialog: &Dialog, cseq: u32, invite_branch: &str, body: Body) {
    let mut ack = dialog.request(Method::Ack, cseq, new_branch());
    ack.body = body;
    let (transport, to) = next_hop(&ack).unwrap_or((shared.config.edge_transport, shared.config.edge));
    let Ok(hop) = shared.transport.hop(transport, to).await else {
        return;
    };
    let bytes = ack.bytes();
    // A lost ACK is repeated when the 2xx is.
    let _ = shared.transport.send(&hop, &bytes).await;
    lock(&shared.acks).insert(invite_branch.to_owned(), (hop, bytes));
}

async fn finish(
    transaction: &ClientTransaction,
    response: SipText,
    provisionals: Vec<Provisional>,
    started: Instant,
) -> Result<Answered, CallFailure> {
    let elapsed = since(started);
    if response.status().is_some_and(|status| status < 300) {
        let branch = transaction.draft.branch.clone();
        return Ok(Answered {
            response,
            branch,
            provisionals,
            elapsed,
        });
    }
    transaction.acknowledge_refusal(&response).await;
    Err(failure(Some(response), provisionals, started))
}

/// Cancels and waits for the end; a 2xx that crossed the CANCEL is taken down again.
async fn cancel(
    shared: &Arc<Shared>,
    mut transaction: ClientTransaction,
    provisionals: Vec<Provisional>,
    started: Instant,
) -> Result<Answered, CallFailure> {
    if provisionals.is_empty() {
        return Err(failure(None, provisionals, started));
    }
    let draft = transaction.draft.sibling(Method::Cancel, transaction.draft.to.clone());
    // The CANCEL's own answer says nothing the INVITE's does not.
    let cancel = ClientTransaction::start_on(shared, draft, transaction.hop.clone()).await;
    let last = transaction
        .final_response((Instant::now() + CANCEL_PATIENCE).into())
        .await;
    drop(cancel);
    let Some(response) = last else {
        return Err(failure(None, provisionals, started));
    };
    if response.status().is_some_and(|status| status >= 300) {
        transaction.acknowledge_refusal(&response).await;
        let mut failure = failure(Some(response), provisionals, started);
        failure.status = 408;
        return Err(failure);
    }
    let mut dialog = dialog_of(shared, &transaction.draft);
    dialog.on_answer(&response);
    acknowledge(
        shared,
        &dialog,
        transaction.draft.cseq,
        &transaction.draft.branch,
        Body::default(),
    )
    .await;
    let bye = dialog.next_request(Method::Bye, new_branch());
    let _ = request(shared, bye, CANCEL_PATIENCE).await;
    Err(failure(None, provisionals, started))
}

impl ClientTransaction {
    /// ACK to a final response other than 2xx, on the INVITE's branch (§17.1.1.3).
    async fn acknowledge_refusal(&self, response: &SipText) {
        let to = response.header("To").unwrap_or_default();
        let bytes = self.draft.sibling(Method::Ack, to).bytes();
        // A lost ACK is repeated when the refusal is.
        let _ = self.shared.transport.send(&self.hop, &bytes).await;
        lock(&self.shared.acks).insert(self.draft.branch.clone(), (self.hop.clone(), bytes));
    }
}

async fn to_edge(shared: &Arc<Shared>, draft: RequestDraft) -> std::io::Result<ClientTransaction> {
    let hop = shared
        .transport
        .hop(shared.config.edge_transport, shared.config.edge)
        .await?;
    ClientTransaction::start_on(shared, draft, hop).await
}

fn new_dialog(shared: &Shared, number: &str, options: &PlaceOptions) -> Dialog {
    let config = &shared.config;
    let host = options.host.clone().unwrap_or_else(|| config.edge.to_string());
    let target = format!("sip:{number}@{host}");
    let local_tag = new_tag();
    Dialog {
        call_id: format!("{:016x}@{}", rand::random::<u64>(), config.domain),
        local: format!("<sip:{}@{}>;tag={local_tag}", config.name, config.domain),
        local_tag,
        remote: format!("<{target}>"),
        remote_target: target,
        routes: Vec::new(),
        local_cseq: 0,
        remote_cseq: None,
        via: shared.via(config.edge_transport),
        contact: shared.contact(config.edge_transport),
    }
}

fn dialog_of(shared: &Shared, draft: &RequestDraft) -> Dialog {
    Dialog {
        call_id: draft.call_id.clone(),
        local_tag: crate::message::param(&draft.from, "tag").unwrap_or_default(),
        local: draft.from.clone(),
        remote: draft.to.clone(),
        remote_target: draft.uri.clone(),
        routes: draft.routes.clone(),
        local_cseq: draft.cseq,
        remote_cseq: None,
        via: draft.via.clone(),
        contact: shared.contact(shared.config.edge_transport),
    }
}

fn failure(response: Option<SipText>, provisionals: Vec<Provisional>, started: Instant) -> CallFailure {
    CallFailure {
        status: response.as_ref().and_then(SipText::status).unwrap_or(408),
        reason: response.as_ref().and_then(|response| response.header("Reason")),
        response,
        provisionals,
        elapsed: since(started),
    }
}

fn local_failure(started: Instant, error: &std::io::Error) -> CallFailure {
    CallFailure {
        status: 503,
        reason: Some(error.to_string()),
        response: None,
        provisionals: Vec::new(),
        elapsed: since(started),
    }
}

/// What the agent understands.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY";

/// How long the answer to a cancelled INVITE is awaited.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
