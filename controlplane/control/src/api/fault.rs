//! Errors in the one form that all of them have: a status and a JSON object whose `error` says what is wrong.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::admin::json_page;

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    body: Value,
}

impl Fault {
    pub(super) fn new(status: StatusCode, error: &str) -> Self {
        let body = json!({ "error": error });
        Self { status, body }
    }

    /// 400.
    pub(super) fn bad(error: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 400 for a body that is not JSON as it should be, with its place.
    pub(super) fn body(why: &serde_json::Error) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: json!({ "error": why.to_string(), "line": why.line(), "column": why.column() }),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut page = json_page(&self.body);
        *page.status_mut() = self.status;
        page
    }
}
