//! Requests to other systems, and their answers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A request, without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHead {
    /// `GET` and the like.
    pub method: String,
    /// The whole address, with `http://` or `https://`.
    pub url: String,
    /// Names in lower case, in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// How long it may take until the answer begins, where the guest said.
    pub head_timeout_ms: Option<u64>,
    /// How long may pass between two pieces of the answer, where the guest said.
    pub body_timeout_ms: Option<u64>,
    /// The secrets that were cut out of the request, and are put back when it is sent.
    pub hidden: Vec<Hidden>,
}

impl HttpHead {
    /// What a header takes besides its text.
    pub const HEADER_BYTES: usize = size_of::<(String, String)>();

    /// How much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + HttpHead::HEADER_BYTES);
        self.method.len() + self.url.len() + headers.sum::<usize>()
    }
}

/// A secret that was cut out of a request, so that whoever reads the request doesn't read the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Where.
    pub part: Part,
    /// At which byte of what is left.
    pub at: u32,
    /// The name of the variable that has it.
    pub name: String,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Its address.
    Url,
    /// The value of its header of this index.
    Header(u32),
    /// Its body.
    Body,
}

impl fmt::Display for HttpHead {
    /// Without what stands behind a `?`: it is long, and often not for everybody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{} {path}", self.method)
    }
}
