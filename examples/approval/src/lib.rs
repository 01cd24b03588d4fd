//! Approval: waits for a person, reminds them, and gives up at a deadline.
//!
//! The wait costs nothing, so it can be as long as people need. What they are given is the id of a promise: they settle
//! it with `host promises resolve ID true`, or with a link in a mail that does the same.

use guest_sdk::prelude::*;

/// How it ended.
#[data]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// Somebody said yes.
    Approved,
    /// Somebody said no.
    Declined,
    /// Nobody answered in time.
    Expired,
}

/// Asks for an approval, with a reminder every `reminder_ms` until `deadline_ms`.
///
/// To answer, settle the promise whose id it prints with true or false.
#[function]
async fn approval(subject: String, reminder_ms: u64, deadline_ms: u64) -> Result<Verdict> {
    let mut answer = promise::<bool>().timeout(Duration::from_millis(deadline_ms));
    println!("please approve {subject}: settle {} with true or false", answer.id());

    loop {
        select! {
            answer = answer => {
                return match answer {
                    Ok(true) => Ok(Verdict::Approved),
                    Ok(false) => Ok(Verdict::Declined),
                    Err(CallError::TimedOut) => Ok(Verdict::Expired),
                    // Rejected, or settled with something that is neither true nor false: that is for the owner.
                    Err(error) => Err(error.into()),
                };
            }
            // A new sleep each time around. The one that loses is dropped, and forgotten by the host.
            () = sleep(Duration::from_millis(reminder_ms)) => {
                println!("reminder: {subject} waits for an answer to {}", answer.id());
            }
        }
    }
}
