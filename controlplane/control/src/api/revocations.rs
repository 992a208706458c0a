//! `/v1/tickets` and `/v1/tickets/revocations`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use serde::Deserialize;
use tollgate_validator::facts::RevokedTickets;

use super::fault::Fault;
use super::query::PutQuery;
use super::{Answered, ask, body, put as send_put, query, remove as send_remove};
use crate::admin::AdminState;
use crate::learned::{FactsDocument, Question, Removal, RevocationEntry, Scope};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// One of them, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    ticket_uuid: Option<String>,
    granted_to: Option<String>,
    number: Option<String>,
}

/// A list of revocations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationsBody {
    pub(super) revocations: Vec<RevocationEntry>,
}

pub(super) async fn tickets(State(state): State<AdminState>) -> Answered {
    ask(&state, Question::Tickets).await
}

pub(super) async fn list(State(state): State<AdminState>, asked: Result<Query<ListQuery>, QueryRejection>) -> Answered {
    let asked = query::read(asked)?;
    let after = asked.after.as_deref().map(place).transpose()?;
    let limit = query::limit(asked.limit);
    ask(&state, Question::Revocations { after, limit }).await
}

/// The `next` of a page, such as `number:+14085551234`.
fn place(text: &str) -> Result<RevokedTickets, Fault> {
    let (kind, value) = text.split_once(':').unwrap_or_default();
    let value = Some(value.to_owned());
    let entry = match kind {
        "ticket_uuid" => RevocationEntry {
            ticket_uuid: value,
            ..RevocationEntry::default()
        },
        "granted_to" => RevocationEntry {
            granted_to: value,
            ..RevocationEntry::default()
        },
        _ => RevocationEntry {
            number: value.map(|number| number.replace(' ', "+")),
            ..RevocationEntry::default()
        },
    };
    entry.which().map_err(|_| Fault::bad("after is not the next of a page"))
}

pub(super) async fn put(
    State(state): State<AdminState>,
    asked: Result<Query<PutQuery>, QueryRejection>,
    told: Result<Bytes, BytesRejection>,
) -> Answered {
    let scope = query::scope(asked, Scope::Revocations)?;
    let RevocationsBody { revocations } = body::read(told).await?;
    let document = FactsDocument {
        revocations,
        ..FactsDocument::default()
    };
    send_put(&state, scope, document).await
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    asked: Result<Query<RemoveQuery>, QueryRejection>,
) -> Answered {
    send_remove(&state, removal(query::read(asked)?)?).await
}

fn removal(asked: RemoveQuery) -> Result<Removal, Fault> {
    let number = asked.number.as_deref().map(query::number).transpose()?;
    let entry = RevocationEntry {
        ticket_uuid: asked.ticket_uuid,
        granted_to: asked.granted_to,
        number: number.map(|number| number.to_string()),
        until_ms: None,
    };
    if entry == RevocationEntry::default() {
        return Ok(Removal::AllRevocations);
    }
    let which = entry.which().map_err(|text| Fault::bad(&text))?;
    Ok(Removal::Revocation(which))
}
