//! `/v1/mappings`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use serde::Deserialize;

use super::query::PutQuery;
use super::{Answered, ask, body, put as send_put, query, remove as send_remove};
use crate::admin::AdminState;
use crate::learned::{FactsDocument, MappingEntry, Question, Removal, Scope};

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
    mapping_id: Option<String>,
}

/// A list of mappings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MappingsBody {
    pub(super) mappings: Vec<MappingEntry>,
}

pub(super) async fn list(State(state): State<AdminState>, asked: Result<Query<ListQuery>, QueryRejection>) -> Answered {
    let asked = query::read(asked)?;
    let after = query::parsed("after", asked.after.as_deref())?;
    let limit = query::limit(asked.limit);
    ask(&state, Question::Mappings { after, limit }).await
}

pub(super) async fn put(
    State(state): State<AdminState>,
    asked: Result<Query<PutQuery>, QueryRejection>,
    told: Result<Bytes, BytesRejection>,
) -> Answered {
    let scope = query::scope(asked, Scope::Mappings)?;
    let MappingsBody { mappings } = body::read(told).await?;
    let document = FactsDocument {
        mappings,
        ..FactsDocument::default()
    };
    send_put(&state, scope, document).await
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    asked: Result<Query<RemoveQuery>, QueryRejection>,
) -> Answered {
    let id = query::parsed("mapping_id", query::read(asked)?.mapping_id.as_deref())?;
    send_remove(&state, id.map_or(Removal::AllMappings, Removal::Mapping)).await
}
