//! The one kind of future inside of all that this crate hands out: lazy, `Unpin` and fused, so that `select!` and
//! `FuturesUnordered` take it without `pin!` or `.fuse()`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What it waits for is started when it is first polled, and dropped as soon as it is done.
pub(crate) enum Waiting<'a, T> {
    Idle(Box<dyn FnOnce() -> Boxed<'a, T> + 'a>),
    Running(Boxed<'a, T>),
    Done,
}

impl<'a, T> Waiting<'a, T> {
    pub(crate) fn new<F: Future<Output = T> + 'a>(start: impl FnOnce() -> F + 'a) -> Self {
        Waiting::Idle(Box::new(|| Box::pin(start())))
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Waiting::Done)
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if let Waiting::Idle(_) = self
            && let Waiting::Idle(start) = std::mem::replace(self, Waiting::Done)
        {
            *self = Waiting::Running(start());
        }
        let Waiting::Running(future) = self else { panic!("a future was polled after it had completed") };
        let output = ready!(future.as_mut().poll(context));
        *self = Waiting::Done;
        Poll::Ready(output)
    }
}

/// `Future` and `FusedFuture` for a type with a field `waiting: Waiting<Self::Output>`.
macro_rules! wait {
    ([$($generics:tt)*] $type:ty => $output:ty) => {
        impl<$($generics)*> std::future::Future for $type {
            type Output = $output;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                self.waiting.poll(context)
            }
        }

        impl<$($generics)*> futures::future::FusedFuture for $type {
            fn is_terminated(&self) -> bool {
                self.waiting.is_done()
            }
        }
    };
}
pub(crate) use wait;
