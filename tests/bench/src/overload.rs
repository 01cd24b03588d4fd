//! W9: more than a host can do. What it takes on it does in bounded time, and the rest it turns away at once.

use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, Report};
use crate::load::{Offered, Until, closed, offered};
use crate::server::Server;
use crate::system::{System, Work};

const CONCURRENCY: usize = 64;
/// Much work for a request, so that the requests themselves are not what there is too much of.
const WORK: Work = Work::FanOut(100);
/// Of what it can do.
const SHARES: [f64; 3] = [0.5, 2.0, 4.0];

pub(crate) async fn overload(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W9 overload: trees of 100 calls at multiples of what the host can do, each at its time");
    let call = server.call(WORK);
    let peak = closed(server.address(), CONCURRENCY, Until::Time(duration), |_| call.clone()).await?;
    server.settled().await?;
    report.add(Figure::new("W9 peak").concurrency(CONCURRENCY).rate(peak.per_second()).times(&peak.times));
    for share in SHARES {
        let rate = peak.per_second() * share;
        let Offered { done, refused } = offered(server.address(), rate, 2 * duration, |_| call.clone()).await?;
        server.settled().await?;
        report.add(Figure::new(format!("W9 at {share} of it, done")).rate(done.per_second()).times(&done.times));
        let per_second = refused.count() as f64 / done.elapsed.as_secs_f64();
        if refused.count() > 0 {
            report.add(Figure::new(format!("W9 at {share} of it, refused")).rate(per_second).times(&refused));
        }
    }
    Ok(())
}
