//! Bodies of requests: bounded, and read off the thread that serves everybody.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// Most bytes of a body: some 80,000 routes. More go in several requests, or in a file.
pub(crate) const BODY_MAX: usize = 32 * 1024 * 1024;

/// Reads a body as JSON.
///
/// # Errors
/// 413 for one that is too long, 400 with line and column for one that is not as it should be.
pub(super) async fn read<T>(body: Result<Bytes, BytesRejection>) -> Result<T, Fault>
where
    T: DeserializeOwned + Send + 'static,
{
    let bytes = body.map_err(|why| match why.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "more than 32 MiB: send parts"),
        _ => Fault::bad("the body ends before its length"),
    })?;
    let read = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes)).await;
    let failed = |_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be read");
    read.map_err(failed)?.map_err(|why| Fault::body(&why))
}
