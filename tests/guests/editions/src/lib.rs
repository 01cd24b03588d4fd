//! One component in several editions, as they come one after the other in real life: the first has a bug, the second does
//! something else than the first did, and the third is mended.

use std::hint::black_box;

use guest_sdk::prelude::*;

/// A test makes another edition by putting other letters in the place of these: `edition two`, `edition fix`.
static EDITION: &str = "edition one";

fn is(edition: &str) -> bool {
    black_box(EDITION).ends_with(edition)
}

/// Sells something: charges for it, and sends it after a while. Nobody had thought of 13 pieces.
#[function]
async fn sell(pieces: u64, ms: u64) -> Result<String> {
    println!("selling {pieces}");
    if is("fix") {
        println!("with care");
    }
    let price = if is("two") { 11 } else { 10 };
    let charged = charge(pieces * price).await?;
    sleep(Duration::from_millis(ms)).await;
    send(pieces);
    println!("sent {pieces}");
    Ok(format!("{pieces} for {charged}"))
}

fn send(pieces: u64) {
    assert!(pieces != 13 || is("fix"), "13 pieces don't fit in a box");
}

/// Charges an amount, which takes a moment.
#[function]
async fn charge(cents: u64) -> u64 {
    sleep(Duration::from_millis(1)).await;
    cents
}

/// Asks somebody, and tells what they said.
#[function]
async fn ask(question: String) -> Result<String> {
    let answer = promise::<String>();
    println!("{question}: {}", answer.id());
    let answer = answer.await?;
    println!("they said {answer}");
    let again = promise::<String>();
    println!("and? {}", again.id());
    Ok(format!("{answer} and {}", again.await?))
}

/// Which edition this is, after a while.
#[function]
async fn edition_after(ms: u64) -> String {
    sleep(Duration::from_millis(ms)).await;
    black_box(EDITION).to_owned()
}
