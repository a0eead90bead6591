//! One connection: hyper over a socket that counts, beside a watchdog.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::watchdog::{Activity, Watchdog};
use super::{Handler, Limits, Phase};
use crate::metrics::Metrics;

/// hyper's buffer for a connection's input, and how much of an answer it takes from us before it has sent some.
const BUFFER: usize = 64 << 10;

/// What all connections share.
pub(super) struct Shared<H> {
    handler: H,
    limits: Limits,
    phase: watch::Receiver<Phase>,
    metrics: Arc<Metrics>,
    keep_alive: HeaderValue,
}

impl<H> Shared<H> {
    pub fn new(handler: H, limits: Limits, phase: watch::Receiver<Phase>, metrics: Arc<Metrics>) -> Self {
        let seconds = limits.keep_alive.as_secs().max(1);
        let keep_alive = HeaderValue::try_from(format!("timeout={seconds}"));
        Self {
            handler,
            limits,
            phase,
            metrics,
            keep_alive: keep_alive.unwrap_or(HeaderValue::from_static("timeout=1")),
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn run<H: Handler>(shared: Arc<Shared<H>>, stream: TcpStream, peer: SocketAddr) {
    configure(&stream, &shared.limits);
    let _counted = Open::new(&shared.metrics);
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request: Request<Incoming>| {
        let request_guard = activity.begin();
        let answer = shared.handler.call(request, peer);
        let shared = Arc::clone(&shared);
        async move {
            let mut response = answer.await;
            let headers = response.headers_mut();
            headers.insert(const { HeaderName::from_static("keep-alive") }, shared.keep_alive.clone());
            // Unchanged since the start, which costs no lock to see: still running.
            if shared.phase.has_changed().unwrap_or(true) && *shared.phase.borrow() >= Phase::Leaving {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| Tracked { body, _request: request_guard }))
        }
    });
    let io = TokioIo::new(Counted { stream, activity: Arc::clone(&activity) });
    let mut http = http1::Builder::new();
    // The watchdog sees to slow heads; hyper's own timer would also run while a connection rests.
    http.header_read_timeout(None).max_buf_size(BUFFER);
    let mut connection = pin!(http.serve_connection(io, service));
    let mut phase = shared.phase.clone();
    let mut watchdog = pin!(Watchdog::new(&activity, &shared.limits).run());
    let mut closing = false;
    let cut = loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(e) = ended {
                    tracing::debug!(%peer, error = %e, "a connection ended early");
                }
                break None;
            }
            reason = watchdog.as_mut() => break Some(reason),
            _ = phase.wait_for(|phase| *phase >= Phase::Closing), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Some(reason) = cut {
        shared.metrics.cut.with_label_values(&[reason.as_str()]).inc();
        tracing::debug!(%peer, reason = reason.as_str(), "a connection was cut");
    }
}

/// A connection in the gauge, also when its task is aborted or panics.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

fn configure(stream: &TcpStream, limits: &Limits) {
    // Neither is worth losing a connection for.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    // A peer whose machine is gone is noticed by the kernel, too.
    let _ = socket.set_tcp_user_timeout(Some(limits.idle_timeout));
}

pin_project_lite::pin_project! {
    /// An answer's body that keeps its request open in the eyes of the watchdog.
    struct Tracked<B> {
        #[pin]
        body: B,
        _request: super::watchdog::OpenRequest,
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells the watchdog of every byte.
struct Counted {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.activity.has_read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.has_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.has_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
