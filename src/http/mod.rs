//! The small HTTP side: is the server alive, is it ready; and rows that are posted to streams.
//!
//! A browser on the same machine may be made to send requests here by any page it visits, so a
//! request must name this server as its host and come from nowhere else: a foreign `Host` (DNS
//! rebinding) or `Origin` (cross-site) is refused. A host that is an address cannot be rebound by a
//! name, so when the server listens on all addresses any of them is its own.

mod acceptor;
mod streams;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::acceptor::{Acceptor, HttpLimits};
use crate::error::Result;
use crate::limits;
use crate::session::StreamPosts;

/// Says whether the server can take statements.
pub type ReadinessCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Answers `/healthz` and `/readyz`, and takes posts, until the shutdown flag is raised.
pub async fn serve(
    listener: TcpListener,
    ready: ReadinessCheck,
    posts: Arc<StreamPosts>,
    shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let patience = Duration::from_secs(limits::HTTP_SECONDS);
    let limits = HttpLimits { sockets: limits::HTTP_SOCKETS, patience };
    serve_with(limits, listener, router(ready, posts), shutdown).await
}

async fn serve_with(
    limits: HttpLimits,
    listener: TcpListener,
    pages: Router,
    mut shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let address = listener.local_addr()?;
    let raised = async move {
        if shutdown.wait_for(|raised| *raised).await.is_err() {
            std::future::pending().await
        }
    };
    let acceptor = Acceptor::new(listener, limits);
    let pages = pages.layer(middleware::from_fn_with_state(address, refuse_foreign));
    Ok(axum::serve(acceptor, pages).with_graceful_shutdown(raised).await?)
}

fn router(ready: ReadinessCheck, posts: Arc<StreamPosts>) -> Router {
    health(ready).route("/streams/{name}", post(streams::post_rows).with_state(posts))
}

fn health(ready: ReadinessCheck) -> Router {
    Router::new()
        .route("/healthz", get(|| async { (StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz).with_state(ready))
}

async fn readyz(State(ready): State<ReadinessCheck>) -> (StatusCode, &'static str) {
    if ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn refuse_foreign(
    State(address): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if is_ours(address, request.uri(), request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "foreign host or origin\n").into_response()
    }
}

/// Whether everything that a request says of where it goes and comes from is this server.
fn is_ours(address: SocketAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    let named = |name, prefixes: &[&str]| {
        headers.get_all(name).iter().all(|value| {
            let value = value.to_str().unwrap_or_default();
            let host = prefixes.iter().find_map(|prefix| value.strip_prefix(prefix));
            host.is_some_and(|host| is_own_name(address, host))
        })
    };
    uri.authority().is_none_or(|authority| is_own_name(address, authority.as_str()))
        && named(header::HOST, &[""])
        && named(header::ORIGIN, &["http://", "https://"])
}

/// Whether `host[:port]` names this server. The port says nothing: it may have been forwarded.
fn is_own_name(listening: SocketAddr, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let Ok(ip) = name.parse::<IpAddr>() else {
        return name.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    };
    ip.is_loopback() || ip == listening.ip() || listening.ip().is_unspecified()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_host_is_ours_when_it_is_loopback_or_where_we_listen() {
        let check = |listening: &str, host: &str, expect: bool| {
            assert_eq!(
                is_own_name(listening.parse().unwrap(), host),
                expect,
                "{host} at {listening}"
            );
        };
        for ours in
            ["localhost", "LocalHost:5456", "127.0.0.1:5456", "[::1]:5456", "[::1]", "127.8.8.8"]
        {
            check("127.0.0.1:5456", ours, true);
        }
        for foreign in
            ["", "evil.example", "localhost.evil.example:5456", "10.0.0.5", "[::2]", "[", "null"]
        {
            check("127.0.0.1:5456", foreign, false);
        }
        check("10.0.0.5:5456", "10.0.0.5:5456", true);
        check("0.0.0.0:5456", "10.0.0.7", true);
        check("0.0.0.0:5456", "evil.example", false);
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn the_server_says_alive_ready_and_refuses_foreign_pages() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(false));
        let (stop, shutdown) = watch::channel(false);
        let flag = Arc::clone(&ready);
        let limits = HttpLimits { sockets: 4, patience: Duration::from_secs(10) };
        let pages = health(Arc::new(move || flag.load(Ordering::Relaxed)));
        let server = tokio::spawn(serve_with(limits, listener, pages, shutdown));
        let get = |path: &str, headers: &str| {
            format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
        };
        let local = "Host: localhost:5456\r\n";
        assert_eq!(ask(address, &get("/healthz", local)).await, "HTTP/1.1 200 OK");
        assert_eq!(ask(address, &get("/readyz", local)).await, "HTTP/1.1 503 Service Unavailable");
        ready.store(true, Ordering::Relaxed);
        assert_eq!(ask(address, &get("/readyz", local)).await, "HTTP/1.1 200 OK");
        assert_eq!(ask(address, &get("/", local)).await, "HTTP/1.1 404 Not Found");
        assert_eq!(ask(address, &get("/metrics", local)).await, "HTTP/1.1 404 Not Found");
        for foreign in [
            "Host: evil.example\r\n",
            "Host: localhost\r\nOrigin: http://evil.example\r\n",
            "Host: localhost\r\nOrigin: null\r\n",
        ] {
            assert_eq!(ask(address, &get("/healthz", foreign)).await, "HTTP/1.1 403 Forbidden");
        }
        stop.send(true).unwrap();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn half_open_requests_are_closed_and_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = watch::channel(false);
        let limits = HttpLimits { sockets: 4, patience: Duration::from_millis(50) };
        let pages = health(Arc::new(|| true));
        let server = tokio::spawn(serve_with(limits, listener, pages, shutdown));
        let mut silent = Vec::new();
        for said in ["", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: loc"].iter().cycle().take(12)
        {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(said.as_bytes()).await.unwrap();
            silent.push(socket);
        }
        let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert_eq!(
            ask(address, get).await,
            "HTTP/1.1 200 OK",
            "after all who came before have been closed"
        );
        for mut socket in silent {
            // Closed with a message or without; what matters is that it ends.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
        stop.send(true).unwrap();
        server.await.unwrap().unwrap();
    }
}
