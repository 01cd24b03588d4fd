//! Polling a guest by hand.
//!
//! A guest's whole call, from making its store to its result, is one future. Its waker does nothing but set a flag, so
//! after a poll there are three cases: it is done; or the flag is up and it can go on at once; or it rests, and nothing
//! but an answer will change that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::wire::Wire;

/// The call of a guest.
pub(super) type Call<T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send>>;

/// A call, and what wakes it.
pub(super) struct Drive<T> {
    call: Call<T>,
    waker: Waker,
}

/// How far a call came.
pub(super) enum Progress<T> {
    /// Its slice is over; it would go on.
    Yielded,
    /// It rests.
    Resting,
    /// It has ended.
    Done(wasmtime::Result<T>),
}

impl<T> Drive<T> {
    pub(super) fn new(wire: &Arc<Wire>, call: Call<T>) -> Drive<T> {
        Drive { call, waker: Waker::from(wire.clone()) }
    }

    /// Runs until it rests, ends, or has had its slice.
    pub(super) fn run(&mut self, wire: &Wire) -> Progress<T> {
        wire.lock().slice.begin();
        let mut context = Context::from_waker(&self.waker);
        loop {
            // What woke it before this poll is seen by this poll.
            wire.take_woken();
            if let Poll::Ready(result) = self.call.as_mut().poll(&mut context) {
                return Progress::Done(result);
            }
            let woken = wire.take_woken();
            let slice = &mut wire.lock().slice;
            if slice.was_over() {
                return Progress::Yielded;
            }
            if !woken {
                slice.rest();
                return Progress::Resting;
            }
            // A guest that only ever yields to itself would keep us here.
            match slice.is_over() {
                Ok(false) => {}
                Ok(true) => return Progress::Yielded,
                Err(stop) => return Progress::Done(Err(stop.into())),
            }
        }
    }
}
