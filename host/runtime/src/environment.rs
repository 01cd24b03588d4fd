//! The variables that a guest finds in its environment, and keeping those that are secret out of what it prints and
//! sends.
//!
//! A guest may do with a secret what it likes: it can return it, or pass it on in an argument, and then it is data like
//! any other. What is hidden here is what leaks by itself: lines of output, and the credentials of requests.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use machine::{Hidden, HttpHead, Part};

/// What stands where a secret was.
const MASK: &str = "***";
/// A shorter secret is in too much else.
const MIN_SECRET_BYTES: usize = 6;

/// The variables of an execution.
#[derive(Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(String, String)>,
    /// Names and values, the longest value first: one can be a part of another.
    secrets: Vec<(String, String)>,
    /// What is cut out of output: each line of each secret.
    lines: Vec<String>,
}

impl Environment {
    /// Of names, values, and whether each is secret.
    pub fn new(variables: impl IntoIterator<Item = (String, String, bool)>) -> Environment {
        let mut environment = Environment::default();
        for (name, value, is_secret) in variables {
            if is_secret && value.len() >= MIN_SECRET_BYTES {
                environment.secrets.push((name.clone(), value.clone()));
            }
            environment.variables.push((name, value));
        }
        environment.secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let lines = environment.secrets.iter().flat_map(|(_, value)| value.lines());
        environment.lines = lines.filter(|line| line.len() >= MIN_SECRET_BYTES).map(str::to_owned).collect();
        environment
    }

    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// A line of output without secrets.
    pub(super) fn mask<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(line);
        for secret in &self.lines {
            if masked.contains(secret) {
                masked = Cow::Owned(masked.replace(secret, MASK));
            }
        }
        masked
    }

    /// Cut secrets out of a request, and note in it where they were.
    pub(super) fn hide(&self, head: &mut HttpHead, body: Bytes) -> Bytes {
        if self.secrets.is_empty() {
            return body;
        }
        let mut hidden = Vec::new();
        self.hide_in_text(&mut head.url, Part::Url, &mut hidden);
        for (index, (_, value)) in (0..).zip(&mut head.headers) {
            self.hide_in_text(value, Part::Header(index), &mut hidden);
        }
        let body = match self.cut(&body, Part::Body, &mut hidden) {
            Some(cut) => cut.into(),
            None => body,
        };
        head.hidden = hidden;
        body
    }

    fn hide_in_text(&self, text: &mut String, part: Part, hidden: &mut Vec<Hidden>) {
        if let Some(cut) = self.cut(text.as_bytes(), part, hidden) {
            *text = String::from_utf8(cut).expect("whole texts are cut out of text");
        }
    }

    fn cut(&self, from: &[u8], part: Part, hidden: &mut Vec<Hidden>) -> Option<Vec<u8>> {
        let mut left = Vec::new();
        let mut rest = from;
        while let Some((at, name, length)) = self.first(rest) {
            left.extend_from_slice(&rest[..at]);
            hidden.push(Hidden { part, at: left.len() as u32, name: name.to_owned() });
            left.extend_from_slice(MASK.as_bytes());
            rest = &rest[at + length..];
        }
        if left.is_empty() {
            return None;
        }
        left.extend_from_slice(rest);
        Some(left)
    }

    /// The first secret in some bytes: where, which, and how long it is.
    fn first(&self, bytes: &[u8]) -> Option<(usize, &str, usize)> {
        let find = |value: &str| bytes.windows(value.len()).position(|window| window == value.as_bytes());
        let found = self.secrets.iter().filter_map(|(name, value)| Some((find(value)?, name.as_str(), value.len())));
        // Of those at one place the longest.
        found.min_by_key(|(at, _, length)| (*at, std::cmp::Reverse(*length)))
    }

    /// Put back what was cut out of a request. It fails where that can't be: its variables are others.
    pub fn reveal(&self, head: &mut HttpHead, body: Bytes) -> Result<Bytes, String> {
        let mut body = Cow::Borrowed(&body[..]);
        for Hidden { part, at, name } in std::mem::take(&mut head.hidden).into_iter().rev() {
            let value = self.secrets.iter().find(|(secret, _)| *secret == name);
            let value = value.map(|(_, value)| value.as_str()).ok_or_else(|| format!("the secret {name} is gone"))?;
            let place = at as usize..at as usize + MASK.len();
            let text = match part {
                Part::Url => &mut head.url,
                Part::Header(index) => match head.headers.get_mut(index as usize) {
                    Some((_, value)) => value,
                    None => return Err(format!("there is no header for the secret {name}")),
                },
                Part::Body => {
                    if body.get(place.clone()) != Some(MASK.as_bytes()) {
                        return Err(format!("there is no place in the body for the secret {name}"));
                    }
                    body.to_mut().splice(place, value.bytes());
                    continue;
                }
            };
            if text.get(place.clone()) != Some(MASK) {
                return Err(format!("there is no place in the request for the secret {name}"));
            }
            text.replace_range(place, value);
        }
        Ok(Bytes::copy_from_slice(&body))
    }
}

impl fmt::Debug for Environment {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let variable = |name: &str, value: &str, is_secret| (name.into(), value.into(), is_secret);
        Environment::new([
            variable("PLAIN", "plain-value", false),
            variable("KEY", "secret-key", true),
            variable("LONGER", "secret-key-of-two\nsecond-line", true),
            variable("PIN", "1234", true),
        ])
    }

    #[test]
    fn output_has_no_secrets() {
        let environment = environment();
        let masked = environment.mask("plain-value secret-key 1234 and secret-key-of-two");
        assert_eq!(masked, "plain-value *** 1234 and ***");
        assert_eq!(environment.mask("the second-line"), "the ***");
        assert_eq!(format!("{environment:?}"), r#"["PLAIN", "KEY", "LONGER", "PIN"]"#);
    }

    #[test]
    fn requests_are_sent_with_what_was_cut_out_of_them() {
        let environment = environment();
        let head = HttpHead {
            url: "https://a/?k=secret-key&l=secret-key".into(),
            headers: vec![("x".into(), "***".into()), ("authorization".into(), "Bearer secret-key".into())],
            ..HttpHead::default()
        };
        let body = Bytes::from_static(b"\xff *** secret-key-of-two\nsecond-line");
        let mut cut = head.clone();
        let cut_body = environment.hide(&mut cut, body.clone());
        assert!(!format!("{cut:?} {cut_body:?}").contains("secret-key"), "{cut:?}");
        assert_eq!((&*cut.url, &cut_body[..]), ("https://a/?k=***&l=***", &b"\xff *** ***"[..]));
        let nobody = Environment::default().reveal(&mut cut.clone(), cut_body.clone()).unwrap_err();
        assert!(nobody.contains("is gone"), "{nobody}");
        let revealed = environment.reveal(&mut cut, cut_body).unwrap();
        assert_eq!((cut, revealed), (head, body));
    }
}
