//! Serves metrics and health by HTTP.
//!
//! Each connection serves one request, and lasts for a few seconds at most: so slow clients cannot take
//! all connections for long.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    listen::Listener,
    shared::{ALIVE, Shared},
};
use crate::{host::privileges, threads};

/// The most connections at once; further ones wait.
const CONNECTIONS: usize = 16;

/// The most bytes of a request: hyper's smallest.
const HEADERS: usize = 8 << 10;

/// The time in which a client must have sent its request.
const TO_SEND: Duration = Duration::from_secs(5);

/// The time of a whole connection.
const TO_END: Duration = Duration::from_secs(20);

/// The time until the next attempt to accept a connection, for example when there is no descriptor.
const RETRY: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

const INDEX: &str = "\
<!doctype html>
<html lang=\"en\"><title>inotify-trace</title>
<h1>inotify-trace</h1>
<ul>
<li><a href=\"metrics\">metrics</a>: use of the limits, holders, failures, leaks
<li><a href=\"healthz\">healthz</a>: whether the event loop runs
<li><a href=\"readyz\">readyz</a>: whether all is seen
</ul>
";

/// Serves in a thread of its own, which has no privileges.
///
/// # Errors
/// If there is no room for the thread.
pub fn serve(listener: Listener, shared: Arc<Shared>) -> io::Result<()> {
    let its = Arc::clone(&shared);
    threads::spawn("http", move || {
        privileges::give_up_all();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(accept(listener, shared)));
        if let Err(error) = served {
            its.fail(format!("cannot serve HTTP: {error}"));
        }
    })?;
    Ok(())
}

enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

async fn accept(listener: Listener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = match listener {
        Listener::Tcp(it) => Accepting::Tcp(tokio::net::TcpListener::from_std(it)?),
        Listener::Unix(it) => Accepting::Unix(tokio::net::UnixListener::from_std(it)?),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let shared = Arc::clone(&shared);
        let accepted = match &listener {
            Accepting::Tcp(it) => it.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    connection(stream, shared).await;
                    drop(permit);
                });
            }),
            Accepting::Unix(it) => it.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    connection(stream, shared).await;
                    drop(permit);
                });
            }),
        };
        if let Err(error) = accepted {
            log::debug!("cannot accept a connection: {error}");
            sleep(RETRY).await;
        }
    }
}

/// Answers one request. What goes wrong is the client's business.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&request, &shared).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TO_SEND)
        .max_buf_size(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(TO_END, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a client of HTTP: {error}"),
        Err(_) => log::debug!("a client of HTTP takes too long"),
    }
}

/// The answer to a request; hyper leaves its body out for HEAD.
async fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let is_head = request.method() == Method::HEAD;
    if request.method() != Method::GET && !is_head {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => metrics(shared, is_head).await,
        "/healthz" => health(shared.silent_for()),
        "/readyz" => match shared.unready() {
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
            None => health(shared.silent_for()),
        },
        "/" => response(StatusCode::OK, HTML, INDEX),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

async fn metrics(shared: &Shared, is_head: bool) -> Response<Full<Bytes>> {
    if let Some(reason) = shared.unready() {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("no metrics yet: {reason}\n"));
    }
    match shared.page().await {
        Some(page) => {
            if !is_head {
                shared.was_served(&page);
            }
            response(StatusCode::OK, METRICS, page.text)
        }
        None => text(StatusCode::SERVICE_UNAVAILABLE, "the event loop does not answer\n"),
    }
}

fn health(silent: Duration) -> Response<Full<Bytes>> {
    if silent < ALIVE {
        text(StatusCode::OK, "ok\n")
    } else {
        let reason = format!("the event loop has not run for {} seconds\n", silent.as_secs());
        text(StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, TEXT, text)
}

fn response(
    status: StatusCode,
    kind: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
