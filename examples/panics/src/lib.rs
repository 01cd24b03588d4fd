//! Panics: a function that stops half-way, and what its owner sees of it.

use guest_sdk::prelude::*;

/// What the owner of a function saw of how it ended.
#[data]
struct Seen {
    /// Whether it ended without a result.
    crashed: bool,
    /// Its result, or the message, the function and the line.
    text: String,
}

/// Packs items into boxes. With no boxes it panics, after a step that is recorded and is not done again.
#[function]
async fn pack(items: u64, boxes: u64) -> Result<u64> {
    let counted = run("count the items", async || {
        println!("counted {items} items");
        Ok(items)
    });
    let items = counted.await?;
    // A bug: nobody thought of zero boxes. It ends this execution, and nothing else.
    Ok(items / boxes)
}

/// Calls `pack`, and reports what it saw of it. `dispatch(10, 2)` is a good day, `dispatch(10, 0)` isn't.
#[function]
async fn dispatch(items: u64, boxes: u64) -> Result<Seen> {
    match pack(items, boxes).await {
        Ok(each) => Ok(Seen { crashed: false, text: format!("{each} in each box") }),
        // A crash is not an error that the function returned: it has its own kind, with the place where it happened.
        Err(CallError::Crashed(text)) => Ok(Seen { crashed: true, text }),
        Err(error) => Err(error.into()),
    }
}
