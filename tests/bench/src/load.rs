//! Loads. In a closed one each connection sends its next request when it has the answer to the one before; in a paced
//! one requests begin when they are due, whether or not those before are answered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::figures::Times;

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

/// A request, and a part of the answer that all is well with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) expected: Bytes,
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
        let mut request = request.header("host", &self.address);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// A body that comes bit by bit.
    pub(crate) async fn stream(mut self, path: &str) -> Result<Incoming> {
        let request = Request::get(path).header("host", &self.address).header("accept", "text/event-stream");
        let response = self.sender.send_request(request.body(Full::default())?).await?;
        ensure!(response.status().is_success(), "{path}: {}", response.status());
        Ok(response.into_body())
    }

    pub(crate) async fn call(&mut self, call: &Call) -> Result<()> {
        self.answer(call).await.map(drop)
    }

    /// `false`: there is too much to do, and it is to be asked again.
    async fn attempt(&mut self, call: &Call) -> Result<bool> {
        let (status, answer) = self.post(&call.path, call.body.clone()).await?;
        let is_refused = matches!(status, 429 | 503);
        if !is_refused {
            call.check(status, &answer)?;
        }
        Ok(!is_refused)
    }

    /// The data in the envelope of an answer.
    pub(crate) async fn ask(&mut self, call: &Call) -> Result<Value> {
        let mut envelope: Value = serde_json::from_slice(&self.answer(call).await?)?;
        Ok(envelope["data"].take())
    }

    async fn answer(&mut self, call: &Call) -> Result<Bytes> {
        let (status, answer) = self.post(&call.path, call.body.clone()).await?;
        call.check(status, &answer)?;
        Ok(answer)
    }
}

impl Call {
    fn check(&self, status: u16, answer: &[u8]) -> Result<()> {
        let is_expected = answer.windows(self.expected.len()).any(|window| window == self.expected);
        ensure!(status < 300 && is_expected, "{}: {status} {}", self.path, String::from_utf8_lossy(answer));
        Ok(())
    }
}

/// When whoever was told to come back does so.
const COME_BACK: Duration = Duration::from_millis(100);

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
    /// How often somebody was told to come back.
    pub(crate) refused: u64,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// So many connections, each with one request under way. The nth request is `call(n)`, from 0. Whoever is told to come back
/// does so a little later, as often as it takes; that counts as part of its request.
pub(crate) async fn closed(address: &str, concurrency: usize, until: Until, call: impl Fn(u64) -> Call) -> Result<Run> {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        connections.push(Connection::open(address).await?);
    }
    let (count, refused) = (Cell::new(0u64), Cell::new(0u64));
    let begun = Instant::now();
    let (count, refused, call) = (&count, &refused, &call);
    let one = |mut connection: Connection| async move {
        let mut times = Vec::new();
        loop {
            let number = count.get();
            let goes_on = match until {
                Until::Time(duration) => begun.elapsed() < duration,
                Until::Count(most) => number < most,
            };
            if !goes_on {
                return anyhow::Ok(times);
            }
            count.set(number + 1);
            let call = call(number);
            let sent = Instant::now();
            while !connection.attempt(&call).await? {
                refused.set(refused.get() + 1);
                tokio::time::sleep(COME_BACK).await;
            }
            times.push(sent.elapsed());
        }
    };
    let times = try_join_all(connections.into_iter().map(one)).await?.concat();
    Ok(Run { times: Times::new(times), elapsed: begun.elapsed(), refused: refused.get() })
}

/// What came of a load that was more than a server could do.
pub(crate) struct Offered {
    /// Those that it did.
    pub(crate) done: Run,
    /// How long it took to turn the others away.
    pub(crate) refused: Times,
}

/// So many requests a second for a while, all of which are answered well.
pub(crate) async fn paced(
    address: &str,
    per_second: f64,
    duration: Duration,
    call: impl Fn(u64) -> Call,
) -> Result<Run> {
    let Offered { done, refused } = offered(address, per_second, duration, call).await?;
    ensure!(refused.count() == 0, "{} of {} were refused", refused.count(), done.times.count() + refused.count());
    Ok(done)
}

/// So many requests a second for a while. A time counts from when its request was due, so that a server that stops for
/// a moment is seen to.
pub(crate) async fn offered(
    address: &str,
    per_second: f64,
    duration: Duration,
    call: impl Fn(u64) -> Call,
) -> Result<Offered> {
    let idle = Rc::new(RefCell::new(Vec::new()));
    let times = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let begun = Instant::now();
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0.. {
                let due = begun + Duration::from_secs_f64(number as f64 / per_second);
                if due - begun >= duration {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                let (idle, times, call, address) = (idle.clone(), times.clone(), call(number), address.to_owned());
                tasks.spawn_local(async move {
                    let unused = idle.borrow_mut().pop();
                    let mut connection = match unused {
                        Some(connection) => connection,
                        None => Connection::open(&address).await?,
                    };
                    let is_done = connection.attempt(&call).await?;
                    let (done, refused) = &mut *times.borrow_mut();
                    if is_done { done } else { refused }.push(due.elapsed());
                    idle.borrow_mut().push(connection);
                    anyhow::Ok(())
                });
                while let Some(done) = tasks.try_join_next() {
                    done??;
                }
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            anyhow::Ok(())
        })
        .await?;
    let (done, refused) = times.take();
    let done = Run { times: Times::new(done), elapsed: begun.elapsed(), refused: refused.len() as u64 };
    Ok(Offered { done, refused: Times::new(refused) })
}
