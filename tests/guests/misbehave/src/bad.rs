//! What a host must survive.

use std::hint::black_box;

use guest_sdk::prelude::*;

use crate::good::sleeper;

/// An infinite loop.
#[function]
async fn spin() -> u64 {
    let mut n = 1_u64;
    while black_box(n) != 0 {
        n = n.wrapping_mul(3);
    }
    n
}

/// An infinite loop after a sleep of 10 ms.
#[function]
async fn sleep_then_spin() -> u64 {
    sleeper(10).await.expect("a sleeper doesn't fail");
    loop {
        black_box(0);
    }
}

/// An infinite loop that yields: each poll ends, with the wish for another.
#[function]
async fn spin_async() {
    guest_sdk::futures::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    })
    .await
}

/// Allocates until it fails.
#[function]
async fn hog() -> u64 {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Recurses without end.
#[function]
async fn recurse() -> u64 {
    #[allow(unconditional_recursion)]
    #[inline(never)]
    fn deeper(n: u64) -> u64 {
        let mut held = [n; 64];
        black_box(&mut held);
        deeper(n + 1) + held[(n % 64) as usize]
    }
    deeper(1)
}

/// Recurses without end, and keeps nothing where it could be pointed to: so it is the host's stack that overflows.
#[function]
async fn recurse_plainly() -> u64 {
    #[allow(unconditional_recursion)]
    #[inline(never)]
    fn deeper(n: u64) -> u64 {
        deeper(n.wrapping_add(1)).rotate_left(5) ^ n
    }
    deeper(black_box(1))
}

/// Prints without end.
#[function]
async fn shout() {
    loop {
        println!("{}", "AAAAAAAA".repeat(100));
    }
}

/// Logs without end.
#[function]
async fn shout_log() {
    loop {
        info!("{}", "AAAAAAAA".repeat(100));
    }
}

/// Calls itself without end, and so is a call tree without end.
#[function]
async fn call_without_end() -> Result<u64> {
    Ok(call_without_end().await?)
}

/// A result of so many bytes.
#[function]
async fn big_result(bytes: u64) -> String {
    "a".repeat(bytes as usize)
}

/// Calls `swallow` with an argument of so many bytes, and returns how many arrived.
#[function]
async fn big_argument(bytes: u64) -> Result<u64> {
    Ok(swallow("a".repeat(bytes as usize)).await?)
}

/// Returns the length of its argument.
#[function]
async fn swallow(text: String) -> u64 {
    text.len() as u64
}

/// An error of so many bytes.
#[function]
async fn big_error(bytes: u64) -> Result<(), String> {
    Err("a".repeat(bytes as usize))
}

/// Panics, at once or after a sleep of `ms`.
#[function]
async fn explode(text: String, ms: u64) -> u64 {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
    panic!("{text}")
}

/// Indexes out of bounds, three plain functions down.
#[function]
async fn out_of_bounds(index: u64) -> u64 {
    #[inline(never)]
    fn shallow(index: usize) -> u64 {
        black_box(deep(index)) + 1
    }
    #[inline(never)]
    fn deep(index: usize) -> u64 {
        black_box(&[1_u64, 2, 3][..])[index]
    }
    shallow(index as usize)
}

/// Ends the process that it believes to be.
#[function]
async fn exit(code: i32) {
    std::process::exit(code)
}

/// Waits for something that nobody will ever provide: it is idle with nothing outstanding.
#[function]
async fn stuck() {
    guest_sdk::futures::future::pending::<()>().await
}

/// The same, after a call that has ended.
#[function]
async fn stuck_after_a_call() -> u64 {
    sleeper(1).await.expect("a sleeper doesn't fail");
    guest_sdk::futures::future::pending().await
}

/// Blocks the thread for a while, instead of waiting durably.
#[function]
async fn block(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Tries what is closed to a guest, and returns what it was told.
#[function]
async fn trespass() -> Vec<String> {
    vec![
        format!("{:?}", std::fs::read_dir("/").map(|entries| entries.count())),
        format!("{:?}", std::fs::write("file", "text")),
        format!("{:?}", std::net::TcpStream::connect("127.0.0.1:80").map(drop)),
        format!("{:?}", std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
        format!("{:?}", std::env::vars().collect::<Vec<_>>()),
        format!("{:?}", std::env::args().collect::<Vec<_>>()),
        format!("{:?}", std::io::stdin().lines().next().map(|line| line.ok())),
    ]
}

/// Asks for ids that are not allowed, and returns what it was told.
#[function]
async fn bad_ids() -> Vec<String> {
    let mut seen = Vec::new();
    for id in ["", "a:b", "a b", "\u{7}", &"a".repeat(10_000)] {
        let told = sleeper(0).id(id).await;
        seen.push(told.map_or_else(|error| format!("{:?}", error.kind()), |_| "accepted".to_owned()));
    }
    seen
}
