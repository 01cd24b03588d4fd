use std::time::Duration;
fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let dir = std::env::args().nth(1).unwrap();
    let runtime = host::runtime::Runtime::new(Default::default()).unwrap();
    let t = std::time::Instant::now();
    let p = host::partition::Partition::open(
        host::partition::Options {
            data: dir.into(),
            workers: 2,
            sessions: 900,
            sessions_bytes: 1 << 30,
            promises: 20_000,
            cache_bytes: 64 << 20,
            backlog: 200_000,
        },
        runtime,
    )
    .unwrap();
    eprintln!("open {:?}", t.elapsed());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let l = tokio::net::TcpListener::bind("127.0.0.1:7700").await.unwrap();
        host::api::serve(
            p.clone(),
            l,
            host::api::Options {
                payload_bytes: 1 << 20,
                component_bytes: 64 << 20,
                default_timeout: Duration::from_secs(86400 * 365),
            },
            async {
                let _ = tokio::signal::ctrl_c().await;
            },
        )
        .await;
    });
    p.stop();
}
