//! What a function sees of the world outside: other systems over HTTP, its environment, and what is closed to it.

use guest_sdk::http;
use guest_sdk::prelude::*;

/// A request with the SDK's client: the status, the body, and the kind of error if there is no response.
#[function]
async fn fetch(method: String, url: String, headers: Vec<(String, String)>, body: String) -> Result<(u16, String)> {
    let request =
        headers.into_iter().fold(http::request(method, url), |request, (name, value)| request.header(name, value));
    match request.body(body).await {
        Ok(response) => Ok((response.status(), response.text().into_owned())),
        Err(error) => bail!("{:?}: {error}", error.kind()),
    }
}

/// So many requests at once: their bodies, in the order in which they came.
#[function]
async fn fetch_all(urls: Vec<String>) -> Result<Vec<String>> {
    let mut requests: FuturesUnordered<_> = urls.into_iter().map(http::get).collect();
    let mut bodies = Vec::new();
    while let Some(response) = requests.next().await {
        bodies.push(response?.text().into_owned());
    }
    Ok(bodies)
}

/// A request that is given up after a while, and another one after it.
#[function]
async fn impatient(slow: String, ms: u64, quick: String) -> Result<String> {
    let given_up = timeout(Duration::from_millis(ms), http::get(slow)).await.is_err();
    Ok(format!("{given_up} {}", http::get(quick).await?.text()))
}

/// A request before a wait of `ms`, and one after it.
#[function]
async fn fetch_sleep_fetch(url: String, ms: u64) -> Result<Vec<String>> {
    let first = http::post(url.as_str()).body("first").await?.text().into_owned();
    sleep(Duration::from_millis(ms)).await;
    let second = http::post(url.as_str()).body("second").await?.text().into_owned();
    Ok(vec![first, second])
}

/// A request with an ordinary client for wasip2: the status and the body.
#[function]
async fn fetch_with_client(method: String, url: String, body: String) -> Result<(u16, String)> {
    wstd::runtime::block_on(async {
        let request = wstd::http::Request::builder().method(method.as_str()).uri(url).header("x-client", "wstd");
        let request = request.body(wstd::http::Body::from(body)).map_err(|error| Error::new(error.to_string()))?;
        let response =
            wstd::http::Client::new().send(request).await.map_err(|error| Error::new(format!("{error:?}")))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let text = body.str_contents().await.map_err(|error| Error::new(format!("{error:?}")))?.to_owned();
        Ok((status, text))
    })
}

/// The value of a variable, printed and returned.
#[function]
async fn variable(name: String) -> Option<String> {
    let value = std::env::var(&name).ok();
    println!("{name} is {value:?}");
    value
}

/// The value of a variable before a wait of `ms` and after it.
#[function]
async fn variable_twice(name: String, ms: u64) -> Vec<Option<String>> {
    let read = || std::env::var(&name).ok();
    let first = read();
    sleep(Duration::from_millis(ms)).await;
    vec![first, read()]
}

/// Sends the value of a variable in a header, in the address and in the body.
#[function]
async fn send_variable(name: String, url: String) -> Result<String> {
    let value = std::env::var(name)?;
    let request = http::post(format!("{url}?key={value}")).header("authorization", format!("Bearer {value}"));
    Ok(request.body(format!("the key is {value}")).await?.text().into_owned())
}

/// Sleeps as an ordinary program would, and returns for how many milliseconds its clock went on.
#[function]
async fn blocking_sleep(ms: u64) -> u64 {
    let begun = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(ms));
    begun.elapsed().as_millis() as u64
}

/// What an ordinary program sees of files, the network, its arguments, its input and threads.
#[function]
async fn closed() -> Vec<(String, String)> {
    use std::io::Read;
    let mut seen = Vec::new();
    let mut see = |what: &str, text: String| seen.push((what.to_owned(), text));
    see("open", format!("{:?}", std::fs::File::open("/etc/passwd").map(|_| ())));
    see("create", format!("{:?}", std::fs::write("out.txt", "x")));
    see("list", format!("{:?}", std::fs::read_dir(".").map(|_| ())));
    see("connect", format!("{:?}", std::net::TcpStream::connect("127.0.0.1:80").map(|_| ())));
    see("listen", format!("{:?}", std::net::TcpListener::bind("127.0.0.1:0").map(|_| ())));
    see("udp", format!("{:?}", std::net::UdpSocket::bind("127.0.0.1:0").map(|_| ())));
    see("resolve", format!("{:?}", std::net::ToSocketAddrs::to_socket_addrs("localhost:80").map(|_| ())));
    see("arguments", format!("{:?}", std::env::args().collect::<Vec<_>>()));
    see("input", format!("{:?}", std::io::stdin().read_to_end(&mut Vec::new())));
    see("thread", format!("{:?}", std::thread::Builder::new().spawn(|| ()).map(|_| ())));
    seen
}

/// Takes so much memory.
#[function]
async fn allocate(bytes: usize) -> usize {
    std::hint::black_box(vec![1u8; bytes]).len()
}

/// Sleeps so many times, for no time.
#[function]
async fn many_naps(n: u64) -> u64 {
    for _ in 0..n {
        sleep(Duration::ZERO).await;
    }
    n
}
