use std::time::Duration;
fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().collect();
    let mut limits = host::runtime::Limits::default();
    let (mut data, mut listen, mut workers, mut sessions, mut backlog) =
        (String::new(), "127.0.0.1:7070".to_string(), 2usize, 900usize, 200_000usize);
    let mut it = args[2..].iter();
    while let Some(k) = it.next() {
        let v = it.next().unwrap().clone();
        let n = || v.parse::<u64>().unwrap();
        match k.as_str() {
            "--data" => data = v,
            "--listen" => listen = v,
            "--workers" => workers = n() as usize,
            "--sessions" => sessions = n() as usize,
            "--memory-limit" => limits.memory_bytes = n() as usize,
            "--cpu-limit" => limits.cpu_ms = v.trim_end_matches("ms").parse().unwrap(),
            "--output-limit" => limits.output_bytes = n() as usize,
            "--payload-limit" => limits.payload_bytes = n() as usize,
            "--component-limit" => limits.component_bytes = n() as usize,
            "--pending-limit" => limits.pending_steps = n() as usize,
            "--backlog" => backlog = n() as usize,
            _ => panic!("{k}"),
        }
    }
    let (payload, component) = (limits.payload_bytes, limits.component_bytes);
    let runtime = host::runtime::Runtime::new(limits).unwrap();
    let p = match host::partition::Partition::open(
        host::partition::Options {
            data: data.into(),
            workers,
            sessions,
            promises: 20000,
            cache_bytes: 64 << 20,
            backlog,
        },
        runtime,
    ) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(1)
        }
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let l = tokio::net::TcpListener::bind(&listen).await.unwrap();
        let stop = async {
            let mut t = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            t.recv().await;
        };
        host::api::serve(
            p.clone(),
            l,
            host::api::Options {
                payload_bytes: payload,
                component_bytes: component,
                default_timeout: Duration::from_secs(86400 * 365),
            },
            stop,
        )
        .await;
    });
    p.stop();
}
