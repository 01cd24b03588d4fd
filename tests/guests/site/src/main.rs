//! An ordinary server for `wasi:http`: what any Rust program for wasip2 would be.

use wstd::http::body::Body;
use wstd::http::{Client, Error, Request, Response, StatusCode};
use wstd::time::{Duration, Timer};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    println!("{} {path}", head.method);
    let mut parts = path.splitn(3, '/').skip(1);
    match (parts.next(), parts.next()) {
        // What was sent.
        (Some("echo"), _) => {
            let text = body.str_contents().await?.to_owned();
            let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("none");
            let answer = format!("{} {path} {kind} {text}", head.method);
            Response::builder()
                .status(StatusCode::CREATED)
                .header("x-site", "yes")
                .body(answer.into())
                .map_err(Error::from)
        }
        // The time before a wait of so many milliseconds and after it, and the number of lines printed.
        (Some("sleep"), Some(ms)) => {
            let begun = std::time::SystemTime::now();
            Timer::after(Duration::from_millis(ms.parse()?)).wait().await;
            let waited = begun.elapsed().map_or(0, |waited| waited.as_millis());
            Ok(Response::new(format!("waited {}", waited).into()))
        }
        // What is at another address.
        (Some("proxy"), Some(url)) => {
            let request = Request::get(url).body(Body::empty())?;
            let mut response = Client::new().send(request).await?;
            let text = response.body_mut().str_contents().await?.to_owned();
            Ok(Response::new(format!("it says: {text}").into()))
        }
        (Some("panic"), _) => panic!("nobody expects it"),
        _ => Response::builder().status(404).body("nothing here".to_owned().into()).map_err(Error::from),
    }
}
