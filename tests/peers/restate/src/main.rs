//! The functions of `tests/guests/measured` as a service of Restate: the same work, written as its SDK wants it.
//!
//! The one argument is the address to listen on.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use restate_sdk::prelude::*;

/// What ended, by number: how late it was, in milliseconds. It isn't durable; the benchmark reads it.
#[derive(Default)]
struct Measured {
    woken: Mutex<HashMap<u64, u64>>,
    stepped: Mutex<HashMap<u64, u64>>,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[restate_sdk::service]
impl Measured {
    /// Returns its argument.
    #[handler]
    async fn echo(&self, _ctx: Context<'_>, value: u64) -> Result<u64, HandlerError> {
        Ok(value)
    }

    /// So many named steps, one after the other.
    #[handler]
    async fn steps(&self, ctx: Context<'_>, n: u64) -> Result<u64, HandlerError> {
        let mut sum = 0;
        for number in 1..=n {
            sum += ctx.run(|| async move { Ok(number) }).name("step").await?;
        }
        Ok(sum)
    }

    /// Ten steps with a sleep of so many milliseconds after each.
    #[handler]
    async fn slow_steps(&self, ctx: Context<'_>, arguments: Json<(u64, u64)>) -> Result<u64, HandlerError> {
        let Json((number, ms)) = arguments;
        let mut sum = 0;
        for step in 1..=10 {
            sum += ctx.run(|| async move { Ok(step) }).name("step").await?;
            ctx.sleep(Duration::from_millis(ms)).await?;
        }
        self.stepped.lock().expect("nobody panics with it").insert(number, 0);
        Ok(sum)
    }

    /// Calls `echo` so many times, all at once.
    #[handler]
    async fn fan_out(&self, ctx: Context<'_>, n: u64) -> Result<u64, HandlerError> {
        let calls: Vec<_> = (1..=n).map(|number| ctx.service_client::<MeasuredClient>().echo(number).call()).collect();
        let mut sum = 0;
        for call in calls {
            sum += call.await?;
        }
        Ok(sum)
    }

    /// Sleeps until a time, in milliseconds since the Unix epoch.
    ///
    /// By default a sleeper stays connected for a minute, and a thousand at most are. With this it is put away at once,
    /// which is better for the many sleepers that are measured.
    #[handler(inactivity_timeout = "0s")]
    async fn sleeper(&self, ctx: Context<'_>, arguments: Json<(u64, u64)>) -> Result<u64, HandlerError> {
        let Json((number, until_ms)) = arguments;
        ctx.sleep(Duration::from_millis(until_ms.saturating_sub(now_ms()))).await?;
        let late_ms = now_ms().saturating_sub(until_ms);
        self.woken.lock().expect("nobody panics with it").entry(number).or_insert(late_ms);
        Ok(number)
    }

    /// How many have woken and stepped since the last `lateness`.
    #[handler]
    async fn counts(&self, _ctx: Context<'_>) -> Result<Json<(u64, u64)>, HandlerError> {
        let count = |ended: &Mutex<HashMap<u64, u64>>| ended.lock().expect("nobody panics with it").len() as u64;
        Ok(Json((count(&self.woken), count(&self.stepped))))
    }

    /// How late each was that woke, and begin anew.
    #[handler]
    async fn lateness(&self, _ctx: Context<'_>) -> Result<Json<Vec<u64>>, HandlerError> {
        self.stepped.lock().expect("nobody panics with it").clear();
        let woken = std::mem::take(&mut *self.woken.lock().expect("nobody panics with it"));
        Ok(Json(woken.into_values().collect()))
    }
}

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).expect("the address to listen on");
    let endpoint = Endpoint::builder().bind(Measured::default()).build();
    HttpServer::new(endpoint).listen_and_serve(address.parse().expect("an address such as 127.0.0.1:9080")).await;
}
