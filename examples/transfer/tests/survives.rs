//! The saga, crashed at each of its steps and with its calls completing in other orders.

use durable_test::{component, function};

#[test]
fn money_is_moved_or_given_back_whatever_happens() {
    for (trouble, state, refunds) in [
        ("none", "resolved", 0),
        ("withdraw", "rejected", 0),
        ("deposit", "rejected", 1),
        ("deposit-crash", "rejected", 1),
    ] {
        let report = function(&component!(), "transfer", ("ann", "bob", 500, trouble, 60_000)).passes();
        assert_eq!(report.outcome.state().as_str(), state, "{trouble}");
        assert_eq!(report.effects.calls.get("refund").copied().unwrap_or(0), refunds, "{trouble}");
        assert_eq!(report.crashes, report.boundaries, "{trouble}");
    }
}
