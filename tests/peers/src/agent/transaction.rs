//! Client transactions: a request, its retransmissions over UDP, and its responses.
//!
//! Server transactions are no more than the last response, kept by the agent. RFC 3261 §17.1.

use std::sync::Arc;
use std::time::Duration;

use rsip::Method;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::transport::Hop;
use super::{Shared, SipTransport, T1, T2, lock};
use crate::dialog::next_hop;
use crate::message::{RequestDraft, SipText};

/// One request under way.
#[derive(Debug)]
pub(super) struct ClientTransaction {
    pub(super) shared: Arc<Shared>,
    pub(super) draft: RequestDraft,
    pub(super) hop: Hop,
    bytes: Vec<u8>,
    responses: mpsc::Receiver<SipText>,
    next_send: Option<Instant>,
    pause: Duration,
}

impl ClientTransaction {
    /// Sends the request to its next hop.
    pub(super) async fn start(shared: &Arc<Shared>, draft: RequestDraft) -> std::io::Result<Self> {
        let (transport, to) = next_hop(&draft).unwrap_or((shared.config.edge_transport, shared.config.edge));
        let hop = shared.transport.hop(transport, to).await?;
        Self::start_on(shared, draft, hop).await
    }

    /// Sends the request to a given hop.
    pub(super) async fn start_on(shared: &Arc<Shared>, draft: RequestDraft, hop: Hop) -> std::io::Result<Self> {
        let (sender, responses) = mpsc::channel(64);
        lock(&shared.transactions).insert(key(&draft.branch, &draft.method.to_string()), sender);
        let bytes = draft.bytes();
        let next_send = match hop.transport() {
            SipTransport::Udp => Some(Instant::now() + T1),
            SipTransport::Tcp | SipTransport::Tls => None,
        };
        let transaction = Self {
            shared: Arc::clone(shared),
            draft,
            hop,
            bytes,
            responses,
            next_send,
            pause: T1,
        };
        shared.transport.send(&transaction.hop, &transaction.bytes).await?;
        Ok(transaction)
    }

    /// The next response before `deadline`; retransmits meanwhile (timers A and E).
    pub(super) async fn next_response(&mut self, deadline: Instant) -> Option<SipText> {
        loop {
            let wake = self.next_send.unwrap_or(deadline).min(deadline);
            tokio::select! {
                response = self.responses.recv() => {
                    if self.draft.method == Method::Invite {
                        self.next_send = None;
                    }
                    return response;
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                    self.retransmit().await;
                }
            }
        }
    }

    /// The final response before `deadline`, provisional ones passed over.
    pub(super) async fn final_response(&mut self, deadline: Instant) -> Option<SipText> {
        loop {
            let response = timeout_at(deadline, self.next_response(deadline)).await.ok()??;
            if response.status().is_some_and(|status| status >= 200) {
                return Some(response);
            }
        }
    }

    async fn retransmit(&mut self) {
        // A lost retransmission is what the next one is for.
        let _ = self.shared.transport.send(&self.hop, &self.bytes).await;
        let longest = if self.draft.method == Method::Invite {
            Duration::MAX
        } else {
            T2
        };
        self.pause = (self.pause * 2).min(longest);
        self.next_send = Some(Instant::now() + self.pause);
    }
}

impl Drop for ClientTransaction {
    fn drop(&mut self) {
        lock(&self.shared.transactions).remove(&key(&self.draft.branch, &self.draft.method.to_string()));
    }
}

/// The key of a transaction: branch and method, CSeq's for a response (§17.1.3).
pub(super) fn key(branch: &str, method: &str) -> String {
    format!("{branch} {method}")
}
