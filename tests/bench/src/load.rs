//! A closed loop of requests: as many connections as the concurrency, each with one request under way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::figures::Times;

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, address: address.into() })
    }

    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        self.send(Request::post(path), body).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, Bytes)> {
        self.send(Request::get(path), Bytes::new()).await
    }

    async fn send(&mut self, request: hyper::http::request::Builder, body: Bytes) -> Result<(u16, Bytes)> {
        let request = request.header("host", &self.address).body(Full::new(body))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// When a load ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Time(Duration),
    Count(u64),
}

/// What came of a load.
pub(crate) struct Run {
    pub(crate) times: Times,
    pub(crate) elapsed: Duration,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Call a function again and again, and hold every answer against what is expected of it.
pub(crate) async fn call(
    address: &str,
    path: &str,
    body: &str,
    concurrency: usize,
    until: Until,
    expected: &'static [u8],
) -> Result<Run> {
    let begun = Instant::now();
    let begun_count = Rc::new(Cell::new(0u64));
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..concurrency {
        let mut connection = Connection::open(address).await?;
        let (path, body, count) = (path.to_owned(), Bytes::from(body.to_owned()), begun_count.clone());
        tasks.push(local.spawn_local(async move {
            let mut times = Vec::new();
            loop {
                let goes_on = match until {
                    Until::Time(duration) => begun.elapsed() < duration,
                    Until::Count(most) => count.get() < most,
                };
                if !goes_on {
                    return Ok(times);
                }
                count.set(count.get() + 1);
                let sent = Instant::now();
                let (status, answer) = connection.post(&path, body.clone()).await?;
                times.push(sent.elapsed());
                let is_expected = answer.windows(expected.len()).any(|window| window == expected);
                ensure!(status < 300 && is_expected, "{path}: {status} {}", String::from_utf8_lossy(&answer));
            }
        }));
    }
    let mut times = Vec::new();
    local
        .run_until(async {
            for task in tasks {
                times.extend(task.await??);
            }
            anyhow::Ok(())
        })
        .await?;
    Ok(Run { times: Times::new(times), elapsed: begun.elapsed() })
}
