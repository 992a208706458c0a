//! The JSON API of learned facts on the admin address: routes, mappings, revocations.
//!
//! It holds no fact: every request travels over the bounded queue of commands to the one owner of them, and is answered
//! from there. What it serves is described in `openapi.json`, which a test holds against the endpoints.

mod body;
mod endpoint;
mod fault;
mod guard;
mod mappings;
mod query;
mod revocations;
mod routes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use self::fault::Fault;
use crate::admin::{AdminState, Command, exchange, json_page};
use crate::learned::{Answer, FactsDocument, LearnedRequest, Question, Removal, Scope, Source};

pub(crate) use body::BODY_MAX;
pub(crate) use endpoint::{Endpoint, Verb, routed};
pub(crate) use guard::guard;

/// How long a request waits for the owner of the facts.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The description of everything the admin address serves, OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// The endpoints of learned facts and of the description.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let at = |path, verb, handler| Endpoint { path, verb, handler };
    use Verb::{Delete, Get, Put};
    vec![
        at("/v1/routes", Get, Get.on(routes::list)),
        at("/v1/routes", Put, Put.on(routes::put)),
        at("/v1/routes", Delete, Delete.on(routes::remove_all)),
        at("/v1/routes/{number}", Get, Get.on(routes::show)),
        at("/v1/routes/{number}", Put, Put.on(routes::put_one)),
        at("/v1/routes/{number}", Delete, Delete.on(routes::remove)),
        at("/v1/mappings", Get, Get.on(mappings::list)),
        at("/v1/mappings", Put, Put.on(mappings::put)),
        at("/v1/mappings", Delete, Delete.on(mappings::remove)),
        at("/v1/tickets", Get, Get.on(revocations::tickets)),
        at("/v1/tickets/revocations", Get, Get.on(revocations::list)),
        at("/v1/tickets/revocations", Put, Put.on(revocations::put)),
        at("/v1/tickets/revocations", Delete, Delete.on(revocations::remove)),
        at("/v1/openapi.json", Get, Get.on(openapi)),
    ]
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// What a handler answers.
type Answered = Result<Response, Fault>;

async fn ask(state: &AdminState, question: Question) -> Answered {
    send(state, |reply| LearnedRequest::Ask { question, reply }).await
}

async fn remove(state: &AdminState, what: Removal) -> Answered {
    send(state, |reply| LearnedRequest::Remove { what, reply }).await
}

async fn put(state: &AdminState, scope: Scope, document: FactsDocument) -> Answered {
    let request = |reply| LearnedRequest::Put {
        source: Source::Api,
        scope,
        document,
        reply,
    };
    send(state, request).await
}

/// Sends a request to the owner of the facts and waits for its answer.
async fn send(state: &AdminState, request: impl FnOnce(oneshot::Sender<Answer>) -> LearnedRequest) -> Answered {
    let answer = exchange(state, |reply| Command::Learned(request(reply))).await;
    let busy = || Fault::new(StatusCode::SERVICE_UNAVAILABLE, "busy: ask again later");
    let answer = answer.ok_or_else(busy)?;
    let mut page = json_page(&answer.body);
    *page.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(page)
}
