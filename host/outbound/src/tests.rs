use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that reads a head and answers each connection with these bytes, and then with silence.
async fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(answer).await.unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    port
}

fn bounds() -> Bounds {
    let short = Duration::from_millis(200);
    Bounds { reach: Reach::Any, head_timeout: short, body_timeout: short, body_bytes: 5, ..Bounds::default() }
}

async fn get(uri: String, bounds: Bounds) -> Result<Response<Bytes>, Error> {
    Client::default().send(Request::get(uri).body(Bytes::new()).unwrap(), &bounds).await
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let port = server(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 5\r\n\r\nhello").await;
    let response = get(format!("http://localhost:{port}/"), bounds()).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.body()[..]), (302, &b"hello"[..]), "nobody goes elsewhere");
    assert_eq!(response.headers()["location"], "/elsewhere");
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let large = server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n").await;
    let error = get(format!("http://127.0.0.1:{large}/"), bounds()).await.unwrap_err();
    assert_eq!(error, Error::BodyTooLarge { limit: 5 });
    let silent = server(b"").await;
    let error = get(format!("http://127.0.0.1:{silent}/"), bounds()).await.unwrap_err();
    assert!(matches!(error, Error::HeadTimeout(_)), "{error}");
    let halting = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;
    let error = get(format!("http://127.0.0.1:{halting}/"), bounds()).await.unwrap_err();
    assert!(matches!(error, Error::BodyTimeout(_)), "{error}");
}

#[tokio::test]
async fn what_is_too_near_is_not_connected_to() {
    let port = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::default();
    for (host, reach) in [("localhost", Reach::Public), ("127.0.0.1", Reach::Private), ("[::1]", Reach::Private)] {
        let request = || Request::get(format!("http://{host}:{port}/")).body(Bytes::new()).unwrap();
        if host != "[::1]" {
            // A connection that somebody else may use is there already.
            client.send(request(), &bounds()).await.unwrap();
        }
        let error = client.send(request(), &Bounds { reach, ..bounds() }).await.unwrap_err();
        assert!(matches!(error, Error::OutOfReach { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn what_failed_is_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = get(format!("http://{closed}/"), bounds()).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    let error = get("http://no-such-name.invalid/".into(), Bounds { head_timeout: CONNECT, ..bounds() }).await;
    assert!(matches!(error, Err(Error::Resolve(_))), "{error:?}");
    let nonsense = server(b"220 mail.example.com ESMTP\r\n").await;
    let error = get(format!("http://127.0.0.1:{nonsense}/"), bounds()).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    let error = get(format!("https://127.0.0.1:{nonsense}/"), bounds()).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_) | Error::HeadTimeout(_)), "{error}");
    for bad in ["/path", "ftp://a/", "http:///"] {
        let Ok(request) = Request::get(bad).body(Bytes::new()) else { continue };
        let error = Client::default().send(request, &bounds()).await.unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{bad}: {error}");
    }
}
