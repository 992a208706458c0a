//! A worker's calls as the runtime drives them: the call table behind the runtime's trait, and nothing else.

use std::net::SocketAddr;
use std::time::Instant;

use tollgate_call::transport::TransportEvent;
use tollgate_call::{CallTable, Output};
use tollgate_contract::{CallView, Now, Snapshot};
use tollgate_media::SocketId;
use tollgate_runtime::{Core, CoreOutput, Forward};

/// The calls of one worker.
#[derive(Debug)]
pub(crate) struct EdgeCore(pub(crate) CallTable);

impl Core for EdgeCore {
    fn handle_transport(&mut self, now: Now, snapshot: &Snapshot, event: TransportEvent) {
        self.0.handle_transport(now, snapshot, event);
    }

    fn handle_timeout(&mut self, now: Now, snapshot: &Snapshot) {
        self.0.handle_timeout(now, snapshot);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<CoreOutput> {
        self.0.poll_output().map(|output| match output {
            Output::Transmit(transmit) => CoreOutput::Transmit(transmit),
            Output::Report(report) => CoreOutput::Report(report),
        })
    }

    fn handle_packet(&mut self, now: Now, at: u32, from: SocketAddr, buf: &mut [u8], len: usize) -> Option<Forward> {
        let (socket, to, len) = self.0.handle_packet(now, SocketId(at), from, buf, len)?;
        Some(Forward {
            socket: socket.0,
            to,
            len,
        })
    }

    fn tick(&mut self, now: Now, snapshot: &Snapshot) {
        self.0.tick(now, snapshot);
    }

    fn views(&self, now: Now, max: usize) -> Vec<CallView> {
        self.0.views(now, max)
    }

    fn discard_after_panic(&mut self, now: Now) {
        self.0.discard_current(now);
    }
}
