//! `POST /streams/NAME`: rows for a stream WITH (connector = 'http').
//!
//! The answer is JSON, and comes when the rows are durable. Which status an error has follows from
//! its SQLSTATE.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::connect::feeder::too_large;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::session::{PostHead, Posted, StreamPosts};

/// Takes a post and answers it.
pub(super) async fn post_rows(
    State(posts): State<Arc<StreamPosts>>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match taken(&posts, stream, &headers, body).await {
        Ok(posted) => answer(StatusCode::OK, &told(&posted)),
        Err(error) => refusal(&error),
    }
}

async fn taken(
    posts: &StreamPosts,
    stream: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Posted> {
    let content_type = text(headers, header::CONTENT_TYPE);
    let is_packed = is_packed(headers)?;
    let key = text(headers, HeaderName::from_static("idempotency-key"));
    let head = PostHead { stream, content_type, is_packed, key };
    let mut post = posts.begin(head).await?;
    let length = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if length.is_some_and(|length: usize| length > limits::HTTP_BODY_BYTES) {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Error::new(SqlState::ProtocolViolation, format!("the body broke off: {error}"))
        })?;
        post.push(&chunk)?;
    }
    post.finish().await
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn is_packed(headers: &HeaderMap) -> Result<bool> {
    let coding = text(headers, header::CONTENT_ENCODING).unwrap_or_default();
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        _ => Err(Error::unsupported(format!("a body packed with '{coding}' cannot be read"))
            .hint("Send it as it is, or packed with gzip.")),
    }
}

fn told(posted: &Posted) -> Value {
    let mut told = json!({ "taken": posted.taken, "rejected": posted.rejected });
    if posted.is_repeated {
        told["repeated"] = true.into();
    }
    if !posted.errors.is_empty() {
        let error =
            |(record, message): &(u64, String)| json!({ "record": record, "message": message });
        told["errors"] = posted.errors.iter().map(error).collect();
    }
    told
}

fn refusal(error: &Error) -> Response {
    let told = json!({ "error": {
        "sqlstate": error.state().code(),
        "message": error.message(),
        "detail": error.detail_text(),
        "hint": error.hint_text(),
    }});
    let status = status(error.state());
    let mut response = answer(status, &told);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(header::RETRY_AFTER, limits::RETRY_AFTER_SECONDS.into());
    }
    response
}

fn status(state: SqlState) -> StatusCode {
    match state {
        SqlState::UndefinedTable | SqlState::UndefinedSchema | SqlState::WrongObjectType => {
            StatusCode::NOT_FOUND
        }
        SqlState::ProgramLimit => StatusCode::PAYLOAD_TOO_LARGE,
        SqlState::NotSupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        SqlState::Unique => StatusCode::CONFLICT,
        SqlState::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        _ => match &state.code()[..2] {
            "53" | "57" => StatusCode::SERVICE_UNAVAILABLE,
            "XX" | "58" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

fn answer(status: StatusCode, told: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{told}\n")).into_response()
}
