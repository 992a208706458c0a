//! `/v1/routes`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::query::PutQuery;
use super::{Answered, ask, body, put as send_put, query, remove as send_remove};
use crate::admin::{AdminState, json_page};
use crate::learned::{FactsDocument, Question, Removal, RouteEntry, RouteFilter, Scope};

/// What is listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    number: Option<String>,
    domain: Option<String>,
    source: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// A list of routes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoutesBody {
    pub(super) routes: Vec<RouteEntry>,
}

pub(super) async fn list(State(state): State<AdminState>, asked: Result<Query<ListQuery>, QueryRejection>) -> Answered {
    let asked = query::read(asked)?;
    if let Some(number) = &asked.number {
        let page = ask(&state, Question::Route(query::number(number)?)).await?;
        return match page.status() {
            StatusCode::NOT_FOUND => Ok(json_page(&json!({ "routes": [], "next": null }))),
            _ => Ok(page),
        };
    }
    let filter = RouteFilter {
        after: asked.after.as_deref().map(query::number).transpose()?,
        domain: asked.domain.map(|domain| domain.to_ascii_lowercase()),
        source: query::parsed("source", asked.source.as_deref())?,
        limit: query::limit(asked.limit),
    };
    ask(&state, Question::Routes(filter)).await
}

pub(super) async fn put(
    State(state): State<AdminState>,
    asked: Result<Query<PutQuery>, QueryRejection>,
    told: Result<Bytes, BytesRejection>,
) -> Answered {
    let scope = query::scope(asked, Scope::Routes)?;
    let RoutesBody { routes } = body::read(told).await?;
    put_routes(&state, scope, routes).await
}

async fn put_routes(state: &AdminState, scope: Scope, routes: Vec<RouteEntry>) -> Answered {
    let document = FactsDocument {
        routes,
        ..FactsDocument::default()
    };
    send_put(state, scope, document).await
}

pub(super) async fn remove_all(State(state): State<AdminState>) -> Answered {
    send_remove(&state, Removal::AllRoutes).await
}

pub(super) async fn show(State(state): State<AdminState>, Path(number): Path<String>) -> Answered {
    ask(&state, Question::Route(query::number(&number)?)).await
}

pub(super) async fn put_one(
    State(state): State<AdminState>,
    Path(number): Path<String>,
    told: Result<Bytes, BytesRejection>,
) -> Answered {
    let number = query::number(&number)?.to_string();
    let route: RouteEntry = body::read(told).await?;
    if !route.number.is_empty() && route.number != number {
        let error = "number is another than the address names";
        return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error));
    }
    put_routes(&state, Scope::Delta, vec![RouteEntry { number, ..route }]).await
}

pub(super) async fn remove(State(state): State<AdminState>, Path(number): Path<String>) -> Answered {
    send_remove(&state, Removal::RoutesOf(query::number(&number)?)).await
}
