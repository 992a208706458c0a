//! The admin address: metrics, health, the live state, and a few commands. Loopback only.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::facts::Facts;
use crate::metrics::{self, Status};
use crate::plane::Plane;
use crate::views;

/// What the admin address may ask of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave service gracefully.
    Drain,
}

/// What every handler sees.
#[derive(Clone)]
pub struct AdminState {
    plane: Arc<dyn Plane>,
    facts: Arc<Mutex<Facts>>,
    status: Arc<Mutex<Status>>,
    commands: Sender<Command>,
}

impl AdminState {
    /// The state of a process that has started.
    #[must_use]
    pub fn new(plane: Arc<dyn Plane>, facts: Arc<Mutex<Facts>>, commands: Sender<Command>) -> Self {
        let status = Arc::new(Mutex::new(Status::new(SystemTime::now())));
        Self {
            plane,
            facts,
            status,
            commands,
        }
    }

    /// From now on `/readyz` says no.
    pub fn set_draining(&self) {
        lock(&self.status).is_draining = true;
    }

    /// Calls that the drain's deadline ended.
    pub fn set_forced(&self, calls: u64) {
        lock(&self.status).forced = calls;
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    fn unready(&self) -> Option<String> {
        if lock(&self.status).is_draining {
            return Some("draining".to_owned());
        }
        self.plane.illness()
    }
}

/// The routes of the admin address.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route(
            "/version",
            get(|| async { json_page(&json!({ "version": env!("CARGO_PKG_VERSION") })) }),
        )
        .route(
            "/v1/calls",
            get(|State(state): State<AdminState>| on_own_thread(move || views::calls(&*state.plane))),
        )
        .route(
            "/v1/media",
            get(|State(state): State<AdminState>| on_own_thread(move || views::media(&*state.plane))),
        )
        .route("/v1/peers", get(peers))
        .route(
            "/v1/ports",
            get(|State(state): State<AdminState>| async move { json_page(&views::ports(&*state.plane)) }),
        )
        .route(
            "/v1/drops",
            get(|State(state): State<AdminState>| async move { json_page(&views::drops(&*state.plane)) }),
        )
        .route("/v1/drain", post(drain))
        .with_state(state)
}

async fn metrics_page(State(state): State<AdminState>) -> Response {
    let status = lock(&state.status).clone();
    let is_ready = state.unready().is_none();
    let page = metrics::page(&*state.plane, &state.facts(), &status, is_ready);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page,
    )
        .into_response()
}

/// Alive: every thread goes round its loop.
async fn livez(State(state): State<AdminState>) -> Response {
    health(state.plane.illness())
}

/// Ready: alive and not draining. A lost validator does not make an edge unready: known routes keep working.
async fn readyz(State(state): State<AdminState>) -> Response {
    health(state.unready())
}

async fn peers(State(state): State<AdminState>) -> Response {
    on_own_thread(move || views::peers(&*state.plane, &state.facts())).await
}

async fn drain(State(state): State<AdminState>) -> Response {
    match state.commands.try_send(Command::Drain) {
        Ok(()) => (StatusCode::ACCEPTED, json_page(&json!({ "draining": true }))).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, json_page(&json!({ "error": "busy" }))).into_response(),
    }
}

fn health(illness: Option<String>) -> Response {
    match illness {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn json_page(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// The workers answer in their own time, so the wait is not spent on the thread that serves everybody.
async fn on_own_thread(read: impl FnOnce() -> Value + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(read).await {
        Ok(value) => json_page(&value),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
