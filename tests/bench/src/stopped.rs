//! W8: what guests that don't give way cost the others. They spin until their limit of CPU time stops them, one after the
//! other, while another function is called.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::json;

use crate::figures::{Figure, Report};
use crate::load::{Call, Connection, Until, closed};
use crate::server::Server;
use crate::system::{System, Work};

/// How many spin at a time.
const SPINNING: [usize; 4] = [0, 1, 4, 16];
/// What each may take before it is stopped.
const LIMIT_MS: u64 = 200;

pub(crate) async fn stopped(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W8 stopped guests: echo, one at a time, while so many spin until they are stopped, over and over");
    let limit = Call {
        path: "/v1/functions/spin/config".into(),
        body: json!({ "limits": { "cpu": LIMIT_MS } }).to_string().into(),
        expected: Bytes::from_static(b"revision"),
    };
    Connection::open(server.address()).await?.call(&limit).await?;
    let spin = Call {
        path: "/v1/functions/spin/invoke".into(),
        body: Bytes::from_static(b"[]"),
        expected: Bytes::from_static(b"of CPU without waiting"),
    };
    let echo = server.call(Work::Echo);
    for spinning in SPINNING {
        let calling = closed(server.address(), 1, Until::Time(duration), |_| echo.clone());
        let (run, stopped) = match spinning {
            0 => (calling.await?, 0),
            n => {
                let spinning = closed(server.address(), n, Until::Time(duration), |_| spin.clone());
                let (run, spun) = tokio::try_join!(calling, spinning)?;
                (run, spun.times.count())
            }
        };
        let figure = Figure::new(format!("W8 echo beside {spinning}")).concurrency(1).rate(run.per_second());
        let most_ms = (run.times.quantile_ms(1.0) * 10.0).round() / 10.0;
        report.add(figure.times(&run.times).with("max_ms", most_ms).with("stopped", stopped));
    }
    Ok(())
}
