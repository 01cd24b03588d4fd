//! Dying at a chosen point, for the tests of recovery: `HOST_KILL_AT=point:n` ends the process, as `kill -9` would, when
//! it passes the point for the nth time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the process can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A guest has had a turn, which isn't recorded.
    MidTurn,
    /// A record is applied in memory.
    Applied,
    /// A group is about to be appended to the log.
    BeforeCommit,
    /// A group is durable, and nobody knows.
    AfterCommit,
    /// What waited for a group has been released.
    AfterRelease,
    /// A cut is about to be written to the store.
    BeforeWrite,
    /// A cut is in the store, and the log still has its records.
    AfterWrite,
    /// A compacted copy of the store is about to take its place.
    BeforeReplace,
    /// It has taken it.
    AfterReplace,
    /// A component is no more, and its files are still there.
    Uninstalled,
}

const POINTS: [(&str, Point); 10] = [
    ("mid-turn", Point::MidTurn),
    ("applied", Point::Applied),
    ("before-commit", Point::BeforeCommit),
    ("after-commit", Point::AfterCommit),
    ("after-release", Point::AfterRelease),
    ("before-write", Point::BeforeWrite),
    ("after-write", Point::AfterWrite),
    ("before-replace", Point::BeforeReplace),
    ("after-replace", Point::AfterReplace),
    ("uninstalled", Point::Uninstalled),
];

/// The chosen point, and how often it is still to be passed.
static CHOSEN: OnceLock<Option<(Point, AtomicU64)>> = OnceLock::new();

/// Read the choice. An unknown point is an error, so that no test passes for want of a kill.
pub(super) fn prepare() -> Result<(), String> {
    let Ok(choice) = std::env::var("HOST_KILL_AT") else {
        CHOSEN.get_or_init(|| None);
        return Ok(());
    };
    let parsed = choice.split_once(':').and_then(|(name, times)| {
        let (_, point) = POINTS.iter().find(|(known, _)| *known == name)?;
        Some((*point, AtomicU64::new(times.parse().ok()?)))
    });
    let Some(chosen) = parsed else {
        let names: Vec<_> = POINTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("HOST_KILL_AT={choice:?} is not POINT:TIMES with a point of {}", names.join(", ")));
    };
    tracing::warn!("this host will die at {choice}");
    CHOSEN.get_or_init(|| Some(chosen));
    Ok(())
}

/// The process passes a point.
pub(super) fn pass(point: Point) {
    if let Some(Some((chosen, left))) = CHOSEN.get()
        && *chosen == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // SAFETY: it sends a signal to this process, which has no handler for it.
        unsafe { libc::raise(libc::SIGKILL) };
    }
}
