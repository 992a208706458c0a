//! How a reader takes a delta: new ones are judged, known ones answered as before, others are stale.
//!
//! A snapshot's records are not deltas.

use std::collections::VecDeque;

use tollgate_contract::Now;

use super::output::{Batch, Output};
use super::reader::{Reader, State};
use super::report::Report;
use super::table::Position;
use crate::feed::digest::Digest;
use crate::feed::message::{Ack, Kind, Message, NackCode};
use crate::feed::record::Record;

impl Reader {
    pub(super) fn on_delta(&mut self, now: Now, revision: u64, record: Record, body: &[u8]) {
        let kind = record.kind();
        let is_synced = matches!(&self.state, State::Established(link) if link.is_synced);
        let Some(position) = self.position.filter(|_| is_synced) else {
            self.report(Report::Stale { kind });
            return self.nack(Some(revision), NackCode::Stale, "snapshot_first");
        };
        let digest = Digest::of(body);
        if revision <= position.revision {
            return self.on_old_delta(revision, kind, digest);
        }
        let position = Position { revision, ..position };
        self.position = Some(position);
        let answer = self.judge(now, record, body.len(), position);
        self.repeats.note(revision, digest, answer);
        self.answer(revision, answer);
    }

    /// Judges a delta of a new revision and hands it on if it is good.
    fn judge(&mut self, now: Now, record: Record, bytes: usize, position: Position) -> Answer {
        let kind = record.kind();
        if self.is_unasked_key(kind) {
            return Err((NackCode::Policy, "keys_not_asked_for"));
        }
        let fact = match record.check(&self.config.rules, now.unix) {
            Ok(fact) => fact,
            Err(fault) => {
                self.report(Report::RecordRefused { kind, fault });
                return Err((fault.code(), fault.name()));
            }
        };
        if self
            .table
            .note(&fact, ((), bytes), &self.config.bounds, now.unix)
            .is_err()
        {
            self.report(Report::TableFull { kind });
            return Err((NackCode::Full, kind.name()));
        }
        self.outputs.push_back(Output::Apply(Batch {
            replaces_all: false,
            facts: vec![fact],
            position,
        }));
        Ok(())
    }

    /// A message told again is answered as before; anything else of a past revision is stale.
    fn on_old_delta(&mut self, revision: u64, kind: Kind, digest: Digest) {
        match self.repeats.answer_to(revision, digest) {
            Some(answer) => {
                self.report(Report::Repeated { kind });
                self.answer(revision, answer);
            }
            None => {
                self.report(Report::Stale { kind });
                self.nack(Some(revision), NackCode::Stale, "revision");
            }
        }
    }

    fn answer(&mut self, revision: u64, answer: Answer) {
        match answer {
            Ok(()) => self.send(&Message::Ack(Ack { revision })),
            Err((code, text)) => self.nack(Some(revision), code, text),
        }
    }
}

/// The answer to a delta: taken, or refused with a code and a word.
pub(super) type Answer = Result<(), (NackCode, &'static str)>;

/// The last answers given, so that a message told again is answered alike and changes nothing.
#[derive(Default)]
pub(super) struct Repeats(VecDeque<(u64, Digest, Answer)>);

/// Most answers remembered.
const MAX_REPEATS: usize = 256;

impl Repeats {
    fn note(&mut self, revision: u64, digest: Digest, answer: Answer) {
        if self.0.len() >= MAX_REPEATS {
            self.0.pop_front();
        }
        self.0.push_back((revision, digest, answer));
    }

    fn answer_to(&self, revision: u64, digest: Digest) -> Option<Answer> {
        let same = self.0.iter().find(|(of, known, _)| *of == revision && *known == digest);
        same.map(|(_, _, answer)| *answer)
    }
}
