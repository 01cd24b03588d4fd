//! Transfer: a saga. What was done is undone when a later part fails.
//!
//! There is no transaction around two banks. There is a function that can't be killed: whatever happens, it either
//! finishes the transfer or gives the money back, because it always goes on from where it was.

use std::fmt;

use guest_sdk::prelude::*;

/// Where to fail, to see what happens then.
#[data]
#[derive(Copy, Eq)]
#[serde(rename_all = "kebab-case")]
enum Trouble {
    /// All goes well.
    None,
    /// There is not enough money: nothing has happened yet.
    Withdraw,
    /// The other account is closed: the money goes back, at once.
    Deposit,
    /// The other bank crashes: the deposit is tried three times, then the money goes back.
    DepositCrash,
}

/// Why a bank says no. Its own type, so that the saga can tell a refusal from a failure.
#[data]
enum BankError {
    NotEnoughMoney { account: String },
    AccountClosed { account: String },
}

impl fmt::Display for BankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BankError::NotEnoughMoney { account } => write!(f, "{account} has not enough money"),
            BankError::AccountClosed { account } => write!(f, "the account of {account} is closed"),
        }
    }
}

/// Moves money from one account to another, or leaves everything as it was.
///
/// `trouble` is none, withdraw, deposit or deposit-crash; `pause_ms` is how long each bank takes.
#[function]
async fn transfer(from: String, to: String, cents: u64, trouble: Trouble, pause_ms: u64) -> Result<String> {
    // If this fails, nothing has happened: `?` is all that is needed.
    withdraw(from.clone(), cents, trouble, pause_ms).await?;

    // A crash may pass, so it is worth another try. A closed account stays closed.
    let deposited = deposit(to.clone(), cents, trouble, pause_ms)
        .retry(Retry::attempts(3).delay(Duration::from_millis(50)))
        .retry_if(|error| !matches!(error, CallError::Failed(BankError::AccountClosed { .. })))
        .await;

    if let Err(error) = deposited {
        println!("the deposit failed: {error}");
        // The money is owed, so this is tried until it succeeds.
        refund(from.clone(), cents, pause_ms).retry(Retry::forever()).await?;
        return Err(error).context(format!("{cents} cents were given back to {from}"));
    }
    Ok(format!("{cents} cents moved from {from} to {to}"))
}

/// Takes money out of an account.
#[function]
async fn withdraw(account: String, cents: u64, trouble: Trouble, pause_ms: u64) -> Result<(), BankError> {
    if trouble == Trouble::Withdraw {
        return Err(BankError::NotEnoughMoney { account });
    }
    book(account, -(cents as i64), pause_ms).await;
    Ok(())
}

/// Puts money into an account.
#[function]
async fn deposit(account: String, cents: u64, trouble: Trouble, pause_ms: u64) -> Result<(), BankError> {
    match trouble {
        Trouble::Deposit => return Err(BankError::AccountClosed { account }),
        Trouble::DepositCrash => panic!("the bank of {account} is on fire"),
        Trouble::None | Trouble::Withdraw => {}
    }
    book(account, cents as i64, pause_ms).await;
    Ok(())
}

/// Puts money back into the account from which it was taken: the compensation of a withdrawal.
#[function]
async fn refund(account: String, cents: u64, pause_ms: u64) {
    book(account, cents as i64, pause_ms).await;
}

/// A plain function: a local call, in the execution of whoever calls it. The booking itself is a step with a name.
async fn book(account: String, cents: i64, pause_ms: u64) {
    let booked = run(format!("book {cents:+} to {account}"), async || {
        sleep(Duration::from_millis(pause_ms)).await;
        println!("{account}: {cents:+}");
        Ok(cents)
    });
    booked.await.expect("a booking that only sleeps and prints doesn't fail");
}
