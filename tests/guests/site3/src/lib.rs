//! An ordinary server for `wasi:http` 0.3: what any Rust program for wasip3 would be. It knows nothing of the host.

use futures::future::{Either, join_all, select};
use http::StatusCode;
use http_body_util::BodyExt;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::http::client;
use wasip3::http::types::{self, ErrorCode};
use wasip3::http_compat::{
    IncomingRequestBody, http_from_wasi_request, http_from_wasi_response, http_into_wasi_request,
    http_into_wasi_response,
};

struct Site;

wasip3::http::service::export!(Site);

impl wasip3::exports::http::handler::Guest for Site {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        http_into_wasi_response(serve(http_from_wasi_request(request)?).await?)
    }
}

async fn serve(request: http::Request<IncomingRequestBody>) -> Result<http::Response<String>, ErrorCode> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    println!("{} {path}", head.method);
    let mut parts = path.splitn(3, '/').skip(1);
    match (parts.next(), parts.next()) {
        // What was sent.
        (Some("echo"), _) => {
            let body = text(body).await?;
            let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("none");
            answer(StatusCode::CREATED, format!("{} {path} {kind} {body}", head.method))
        }
        // The time that a wait of so many milliseconds took.
        (Some("sleep"), Some(ms)) => {
            let begun = milliseconds();
            monotonic_clock::wait_for(ms.parse::<u64>().unwrap_or(0) * 1_000_000).await;
            answer(StatusCode::OK, format!("waited {}", milliseconds() - begun))
        }
        // What is at another address, to which the body is sent on.
        (Some("proxy"), Some(url)) => match fetch(url, text(body).await?).await {
            Ok((status, text)) => answer(StatusCode::OK, format!("it says: {status} {text}")),
            Err(error) => answer(StatusCode::BAD_GATEWAY, format!("{error:?}")),
        },
        // Several requests at once, to the addresses in the body: what they said, in order.
        (Some("all"), _) => {
            let urls = text(body).await?;
            let all = join_all(urls.lines().map(|url| fetch(url, String::new()))).await;
            let all: Vec<String> = all.into_iter().map(|one| one.map_or("error".into(), |(_, text)| text)).collect();
            answer(StatusCode::OK, all.join(", "))
        }
        // A request that is given up after so many milliseconds.
        (Some("impatient"), Some(rest)) => {
            let (ms, url) = rest.split_once('/').unwrap_or((rest, ""));
            let wait = monotonic_clock::wait_for(ms.parse::<u64>().unwrap_or(0) * 1_000_000);
            let ended = select(Box::pin(fetch(url, String::new())), Box::pin(wait)).await;
            answer(StatusCode::OK, format!("in time: {}", matches!(ended, Either::Left(_))))
        }
        (Some("large"), Some(bytes)) => answer(StatusCode::OK, "x".repeat(bytes.parse().unwrap_or(0))),
        // What it sees of files and the network.
        (Some("closed"), _) => {
            use wasip3::sockets::{ip_name_lookup::resolve_addresses, types};
            let name = resolve_addresses("localhost".into()).await;
            let tcp = types::TcpSocket::create(types::IpAddressFamily::Ipv4).map(|_| ());
            let udp = types::UdpSocket::create(types::IpAddressFamily::Ipv6).map(|_| ());
            let directories = wasip3::filesystem::preopens::get_directories().len();
            answer(StatusCode::OK, format!("{name:?} {tcp:?} {udp:?} {directories}"))
        }
        (Some("panic"), _) => panic!("nobody expects it"),
        _ => answer(StatusCode::NOT_FOUND, "nothing here".into()),
    }
}

/// POST, or GET where there is nothing to send.
async fn fetch(url: &str, body: String) -> Result<(u16, String), ErrorCode> {
    let internal = |error: http::Error| ErrorCode::InternalError(Some(error.to_string()));
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = http::Request::builder().method(method).uri(url).header("x-client", "wasip3").body(body);
    let response = client::send(http_into_wasi_request(request.map_err(internal)?)?).await?;
    let response = http_from_wasi_response(response)?;
    let status = response.status().as_u16();
    Ok((status, text(response.into_body()).await?))
}

async fn text<B: http_body_util::BodyExt<Error = ErrorCode>>(body: B) -> Result<String, ErrorCode> {
    let bytes = BodyExt::collect(body).await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn answer(status: StatusCode, body: String) -> Result<http::Response<String>, ErrorCode> {
    let answer = http::Response::builder().status(status).header("x-site", "yes").body(body);
    answer.map_err(|error| ErrorCode::InternalError(Some(error.to_string())))
}

fn milliseconds() -> i64 {
    let now = system_clock::now();
    now.seconds * 1_000 + i64::from(now.nanoseconds) / 1_000_000
}
