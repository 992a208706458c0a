//! The admin address: metrics, health, the live state, learned facts, and a few commands. Loopback only, unless the
//! policy asks for a token.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tollgate_contract::Secret;
use tollgate_policy::SecretText;

use crate::api::{self, ANSWER_LIMIT, BODY_MAX, Endpoint, Verb};
use crate::exposition::Exposition;
use crate::facts::Facts;
use crate::learned::{LearnedRequest, Stats};
use crate::metrics::{self, Status};
use crate::plane::Plane;
use crate::views;

/// What the admin address may ask of the process.
#[derive(Debug)]
pub enum Command {
    /// Leave service gracefully.
    Drain,
    /// Read or change learned facts.
    Learned(LearnedRequest),
    /// Read the policy file again.
    Reload(oneshot::Sender<ReloadAnswer>),
    /// Show the mapping service; `None` where there is none.
    Mappings(oneshot::Sender<Option<Value>>),
}

/// What came of reading the policy file again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReloadAnswer {
    /// Whether it is in force; if not, the old policy is.
    pub is_applied: bool,
    /// `applied`, `changes`, and `errors` if it is not.
    pub body: Value,
}

impl From<LearnedRequest> for Command {
    fn from(request: LearnedRequest) -> Self {
        Self::Learned(request)
    }
}

/// Adds samples to the metrics page.
type Exposer = dyn Fn(&mut Exposition) + Send + Sync;

/// Something wrong that does not make the edge unready, in words; `None` while all is well.
type Remark = dyn Fn() -> Option<String> + Send + Sync;

/// What every handler sees.
#[derive(Clone)]
pub struct AdminState {
    plane: Arc<dyn Plane>,
    facts: Arc<Mutex<Facts>>,
    status: Arc<Mutex<Status>>,
    learned: Arc<Mutex<Stats>>,
    unauthorised: Arc<AtomicU64>,
    token: Option<Arc<Secret>>,
    more_metrics: Vec<Arc<Exposer>>,
    remarks: Vec<Arc<Remark>>,
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
            learned: Arc::default(),
            unauthorised: Arc::default(),
            token: None,
            more_metrics: Vec::new(),
            remarks: Vec::new(),
            commands,
        }
    }

    /// Every request but health checks must bear the policy's token, if there is one.
    #[must_use]
    pub fn with_token(self, token: Option<&SecretText>) -> Self {
        self.with_secret(token.map(|token| Secret::new(token.expose().as_bytes().to_vec())))
    }

    /// As [`AdminState::with_token`], from bytes.
    pub(crate) fn with_secret(mut self, token: Option<Secret>) -> Self {
        self.token = token.map(Arc::new);
        self
    }

    /// Adds to the metrics page what a part of the control plane counts.
    #[must_use]
    pub fn with_metrics(mut self, expose: impl Fn(&mut Exposition) + Send + Sync + 'static) -> Self {
        self.more_metrics.push(Arc::new(expose));
        self
    }

    /// Adds to `/readyz` what is wrong without making the edge unready, such as a lost validator.
    #[must_use]
    pub fn with_remark(mut self, remark: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.remarks.push(Arc::new(remark));
        self
    }

    /// What the metrics page says about learned facts from now on.
    pub fn set_learned(&self, stats: Stats) {
        *lock(&self.learned) = stats;
    }

    /// From now on `/readyz` says no.
    pub fn set_draining(&self) {
        lock(&self.status).is_draining = true;
    }

    /// Calls that the drain's deadline ended.
    pub fn set_forced(&self, calls: u64) {
        lock(&self.status).forced = calls;
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_deref()
    }

    pub(crate) fn count_unauthorised(&self) {
        self.unauthorised.fetch_add(1, Relaxed);
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
    api::routed(endpoints())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(state.clone(), api::guard))
        .with_state(state)
}

/// Everything that is served.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let get = |path, handler| Endpoint {
        path,
        verb: Verb::Get,
        handler,
    };
    let on = Verb::Get;
    let mut endpoints = vec![
        get("/metrics", on.on(metrics_page)),
        get("/livez", on.on(livez)),
        get("/readyz", on.on(readyz)),
        get(
            "/version",
            on.on(|| async { json_page(&json!({ "version": env!("CARGO_PKG_VERSION") })) }),
        ),
        get(
            "/v1/calls",
            on.on(|State(state): State<AdminState>| on_own_thread(move || views::calls(&*state.plane))),
        ),
        get(
            "/v1/media",
            on.on(|State(state): State<AdminState>| on_own_thread(move || views::media(&*state.plane))),
        ),
        get("/v1/peers", on.on(peers)),
        get(
            "/v1/ports",
            on.on(|State(state): State<AdminState>| async move { json_page(&views::ports(&*state.plane)) }),
        ),
        get(
            "/v1/drops",
            on.on(|State(state): State<AdminState>| async move { json_page(&views::drops(&*state.plane)) }),
        ),
        Endpoint {
            path: "/v1/drain",
            verb: Verb::Post,
            handler: Verb::Post.on(drain),
        },
        Endpoint {
            path: "/v1/reload",
            verb: Verb::Post,
            handler: Verb::Post.on(reload),
        },
        get("/v1/mappings/leases", on.on(leases)),
    ];
    endpoints.extend(api::endpoints());
    endpoints
}

async fn metrics_page(State(state): State<AdminState>) -> Response {
    let status = lock(&state.status).clone();
    let is_ready = state.unready().is_none();
    let learned = Stats {
        unauthorised: state.unauthorised.load(Relaxed),
        ..lock(&state.learned).clone()
    };
    let more = |out: &mut Exposition| state.more_metrics.iter().for_each(|expose| expose(out));
    let page = metrics::page(&*state.plane, &state.facts(), &learned, &status, is_ready, more);
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

/// Ready: alive and not draining. A lost validator does not make an edge unready: known routes keep working. It is told
/// below the word, as is a store that is down.
async fn readyz(State(state): State<AdminState>) -> Response {
    if let Some(why) = state.unready() {
        return health(Some(why));
    }
    let mut words = "ok\n".to_owned();
    for remark in state.remarks.iter().filter_map(|remark| remark()) {
        words.push_str(&remark);
        words.push('\n');
    }
    (StatusCode::OK, words).into_response()
}

async fn peers(State(state): State<AdminState>) -> Response {
    on_own_thread(move || views::peers(&*state.plane, &state.facts())).await
}

async fn drain(State(state): State<AdminState>) -> Response {
    match state.commands.try_send(Command::Drain) {
        Ok(()) => (StatusCode::ACCEPTED, json_page(&json!({ "draining": true }))).into_response(),
        Err(_) => busy(),
    }
}

/// 200 if the policy is in force, 422 if it was refused.
async fn reload(State(state): State<AdminState>) -> Response {
    let Some(answer) = exchange(&state, Command::Reload).await else {
        return busy();
    };
    let status = if answer.is_applied {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    (status, json_page(&answer.body)).into_response()
}

/// 404 where the mode has no mapping service.
async fn leases(State(state): State<AdminState>) -> Response {
    match exchange(&state, Command::Mappings).await {
        Some(Some(view)) => json_page(&view),
        Some(None) => {
            let why = json!({ "error": "this edge has no mapping service: its mode is not off-path" });
            (StatusCode::NOT_FOUND, json_page(&why)).into_response()
        }
        None => busy(),
    }
}

/// Asks the control loop something; `None` if it does not answer in time.
pub(crate) async fn exchange<T>(state: &AdminState, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        state.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(ANSWER_LIMIT, asked).await.ok().flatten()
}

fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, json_page(&json!({ "error": "busy" }))).into_response()
}

fn health(illness: Option<String>) -> Response {
    match illness {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

pub(crate) fn json_page(value: &Value) -> Response {
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
