//! How a reader takes a snapshot: whole or not at all.
//!
//! The facts held before stand until SnapshotEnd has been found right.

use tollgate_contract::Now;

use super::delta::Repeats;
use super::output::{Batch, Output};
use super::reader::{Reader, State};
use super::report::Report;
use super::staging::{self, Staged, Staging};
use super::table::Position;
use crate::feed::message::{Ack, Kind, Message, NackCode, SnapshotBegin, SnapshotEnd};
use crate::feed::record::Record;

impl Reader {
    pub(super) fn on_snapshot_begin(&mut self, now: Now, begin: SnapshotBegin) {
        self.abandon_snapshot();
        let State::Established(link) = &mut self.state else {
            return;
        };
        let is_same = self
            .position
            .filter(|ours| ours.instance == link.peer.instance && ours.generation == begin.generation);
        let is_older = is_same.is_some_and(|ours| begin.revision < ours.revision);
        let is_stale = begin.generation != link.peer.generation || is_older;
        let fits = staging::fits(&begin, &self.config.bounds);
        let deadline = now.instant + self.config.snapshot_timeout;
        link.staging = Some(match !is_stale && fits {
            true => Staging::begun(begin, deadline),
            false => Staging::dead(begin, deadline),
        });
        if is_stale {
            self.report(Report::Stale {
                kind: Kind::SnapshotBegin,
            });
            self.refuse_snapshot(begin.revision, NackCode::Stale, "generation_or_revision");
        } else if !fits {
            self.refuse_snapshot(begin.revision, NackCode::Full, "counts");
        }
    }

    pub(super) fn on_snapshot_record(&mut self, now: Now, revision: u64, record: Record, bytes: usize) {
        let kind = record.kind();
        if self.is_unasked_key(kind) {
            return self.nack(Some(revision), NackCode::Policy, "keys_not_asked_for");
        }
        let Some(staging) = self.state.staging() else {
            return;
        };
        let judged_by = (&self.config.rules, &self.config.bounds);
        let of = staging.revision();
        match staging.add(record, bytes, judged_by, now.unix) {
            Staged::Quiet => {}
            Staged::Refused(fault) => {
                self.report(Report::RecordRefused { kind, fault });
                self.nack(Some(revision), fault.code(), fault.name());
            }
            Staged::Full => {
                self.report(Report::TableFull { kind });
                self.refuse_snapshot(of, NackCode::Full, kind.name());
            }
            Staged::TooMany => self.refuse_snapshot(of, NackCode::Verify, "counts"),
            Staged::OutOfPlace => self.on_out_of_place(kind, Some(revision)),
        }
    }

    pub(super) fn on_snapshot_end(&mut self, staging: Staging, end: &SnapshotEnd) {
        let complete = match staging.end(end) {
            Ok(Some(complete)) => complete,
            Ok(None) => return,
            Err(why) => return self.refuse_snapshot(end.revision, NackCode::Verify, why),
        };
        let State::Established(link) = &mut self.state else {
            return;
        };
        link.is_synced = true;
        let position = Position {
            instance: link.peer.instance,
            generation: end.generation,
            revision: end.revision,
        };
        self.position = Some(position);
        self.table = complete.table;
        self.repeats = Repeats::default();
        self.outputs.push_back(Output::Apply(Batch {
            replaces_all: true,
            facts: complete.facts,
            position,
        }));
        self.report(Report::SnapshotApplied {
            revision: end.revision,
            kept: self.table.counts(),
            refused: complete.refused,
        });
        self.send(&Message::Ack(Ack { revision: end.revision }));
    }

    fn refuse_snapshot(&mut self, revision: u64, code: NackCode, why: &'static str) {
        // What is held no longer continues into what the validator tells next.
        if let State::Established(link) = &mut self.state {
            link.is_synced = false;
        }
        self.report(Report::SnapshotRefused { revision, code, why });
        self.nack(Some(revision), code, why);
    }

    pub(super) fn abandon_snapshot(&mut self) {
        let State::Established(link) = &mut self.state else {
            return;
        };
        if let Some(staging) = link.staging.take() {
            link.is_synced = false;
            let revision = staging.revision();
            self.report(Report::SnapshotAbandoned { revision });
        }
    }
}
