//! The ids of what is made without one.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use machine::Id;
use uuid::Uuid;

/// An id that a request was given on its way, if it was. In a cluster it is: whoever takes the request decides where it is
/// done, and it may have to be put again.
#[derive(Clone)]
pub struct FreshId(pub Id);

/// Gives ids to what a request makes without one.
pub(super) struct Fresh(Option<Id>);

impl Fresh {
    /// Ids that are made up ascend with time, which keeps the newest together in the store.
    pub(super) fn id(self) -> Id {
        let make = || Id::root(&Uuid::now_v7().simple().to_string()).expect("hexadecimal digits are an id");
        self.0.unwrap_or_else(make)
    }
}

impl<S: Sync> FromRequestParts<S> for Fresh {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Fresh, Infallible> {
        Ok(Fresh(parts.extensions.get::<FreshId>().map(|FreshId(id)| id.clone())))
    }
}
