//! Names of promises and executions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest id of a root.
pub const MAX_ROOT_BYTES: usize = 128;
/// The longest id of all. It bounds how deep a call tree can be: about 400 levels of single-digit steps.
pub const MAX_ID_BYTES: usize = 1024;

/// The name of a promise, and of the execution that it is the result of.
///
/// Ids that are made here are `<root>` at the top of a call tree, `<root>:<n>` at its first level, and `.<n>` for each
/// level below. A root holds no `:`, so everything before it is the *origin*, which all promises of a tree share.
///
/// Clients of the promise protocol name their promises themselves, in that way or in others (`<root>.<n>`): any text is
/// an id if it isn't empty, isn't too long, and has no control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(Arc<str>);

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("an id can't be empty")]
    Empty,
    /// Over [`MAX_ROOT_BYTES`].
    #[error("an id has at most {MAX_ROOT_BYTES} bytes; this one has {0}")]
    TooLong(usize),
    /// Over [`MAX_ID_BYTES`].
    #[error("the call tree is too deep: an id can't exceed {MAX_ID_BYTES} bytes")]
    TooDeep,
    /// A colon, which separates a root from its steps.
    #[error("an id can't contain ':' (it separates an execution from its steps): {0:?}")]
    Reserved(String),
    /// Control characters, spaces, or what would be in the way in an address.
    #[error("an id can't contain {1:?}: {0:?}")]
    Character(String, char),
}

impl Id {
    /// The id of a root, as somebody chose it.
    pub fn root(text: &str) -> Result<Id, IdError> {
        if text.contains(':') {
            return Err(IdError::Reserved(text.into()));
        }
        check_root(text)?;
        Ok(Id(text.into()))
    }

    /// Any id, whoever made it.
    pub fn parse(text: &str) -> Result<Id, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(IdError::TooDeep);
        }
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(IdError::Character(text.into(), c)),
            None => Ok(Id(text.into())),
        }
    }

    /// The id of this execution's step.
    pub fn child(&self, step: u32) -> Result<Id, IdError> {
        let separator = if self.is_root() { ':' } else { '.' };
        let id = format!("{}{separator}{step}", self.0);
        if id.len() > MAX_ID_BYTES { Err(IdError::TooDeep) } else { Ok(Id(id.into())) }
    }

    /// The root of the call tree.
    pub fn origin(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(root, _)| root)
    }

    /// Which of the [`PARTITIONS`](crate::PARTITIONS) it belongs to, the same for a whole call tree: see [`partition_of`].
    pub fn partition(&self) -> u8 {
        partition_of(&self.0)
    }

    /// Whether it is the root of its tree.
    pub fn is_root(&self) -> bool {
        !self.0.contains(':')
    }

    /// The id of the promise that it would be a step of, as ids are made here. None for a root.
    pub fn parent(&self) -> Option<Id> {
        let (origin, path) = self.0.split_once(':')?;
        let bytes = path.rsplit_once('.').map_or(origin.len(), |(above, _)| origin.len() + 1 + above.len());
        Some(Id(self.0[..bytes].into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_root(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ROOT_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    if matches!(text, "." | "..") {
        // Clients resolve these in an address before they send it.
        return Err(IdError::Character(text.into(), '.'));
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '?' | '#' | '%' | '\\')) {
        Some(c) => Err(IdError::Character(text.into(), c)),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Id {
    /// Trusts what it reads: ids are checked where they enter, and come back from our own records only.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        Ok(Id(<Arc<str>>::deserialize(deserializer)?))
    }
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which of the [`PARTITIONS`](crate::PARTITIONS) an id or a name belongs to.
///
/// The 64-bit FNV-1a hash, finished as in MurmurHash3, of the id up to its first `:` and without the `.<digits>` at the
/// end: so clients that name the steps of `order-7` `order-7.1` and `order-7.1.2` have theirs together too.
pub fn partition_of(id: &str) -> u8 {
    let mut origin = id.split_once(':').map_or(id, |(root, _)| root);
    while let Some((above, step)) = origin.rsplit_once('.')
        && !above.is_empty()
        && !step.is_empty()
        && step.bytes().all(|byte| byte.is_ascii_digit())
    {
        origin = above;
    }
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = origin.bytes().fold(0xcbf2_9ce4_8422_2325, add);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    ((hash ^ (hash >> 33)) as usize % crate::PARTITIONS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_extend_their_parent() {
        let root = Id::root("order-7").unwrap();
        let child = root.child(1).unwrap();
        let grandchild = child.child(2).unwrap();
        assert_eq!((child.as_str(), grandchild.as_str()), ("order-7:1", "order-7:1.2"));
        assert_eq!(grandchild.origin(), "order-7");
        assert_eq!((root.parent(), child.parent(), grandchild.parent()), (None, Some(root), Some(child)));
        assert_eq!(Id::parse("order-7:1.2"), Ok(grandchild));
    }

    #[test]
    fn a_call_tree_is_in_one_partition_and_trees_are_spread() {
        let partition = |text: &str| Id::parse(text).unwrap().partition();
        // Part of the format: what is stored is found there for good.
        let fixed = ["a", "order-7", "0194f3c2a7b07d01b6d2f8a4c1e35b77"].map(partition);
        assert_eq!(fixed, [13, 15, 43]);
        for step in ["order-7:1", "order-7:1.2", "order-7:12.3.4", "order-7.1", "order-7.1.2"] {
            assert_eq!(partition(step), partition("order-7"), "{step}");
        }
        let mut counts = [0u32; crate::PARTITIONS];
        (0..25_600).for_each(|n| counts[usize::from(partition(&format!("order-{n}")))] += 1);
        assert!(counts.iter().all(|count| (300..500).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(Id::root(""), Err(IdError::Empty));
        assert_eq!(Id::root("a:1"), Err(IdError::Reserved("a:1".into())));
        assert!(Id::root(&"a".repeat(128)).is_ok());
        assert_eq!(Id::root(&"a".repeat(129)), Err(IdError::TooLong(129)));
        for bad in ["a b", "a/b", "a\nb", "a%20b", ".", ".."] {
            assert!(matches!(Id::root(bad), Err(IdError::Character(..))), "{bad}");
        }
        for text in ["a:x", "a.1.2", "a:d01", "what a name", "ü/%"] {
            assert_eq!(Id::parse(text).unwrap().as_str(), text);
        }
        for bad in ["a\0", "a\nb"] {
            assert!(matches!(Id::parse(bad), Err(IdError::Character(..))), "{bad:?}");
        }
        assert_eq!(Id::parse(""), Err(IdError::Empty));
        assert_eq!(Id::parse(&"a".repeat(1025)), Err(IdError::TooDeep));
        let mut deep = Id::root("a").unwrap();
        while let Ok(next) = deep.child(1) {
            deep = next;
        }
        assert_eq!(deep.child(1), Err(IdError::TooDeep));
    }
}
