//! The exports: what the host asks of a component, answered for all functions that `#[function]` registered.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::host::bindings::exports::durable::functions::functions as wit;
use crate::host::{self, Level};
use crate::payload;

/// A function of this component, as `#[function]` registers it.
#[derive(Debug)]
pub struct Function {
    /// The name by which it is called.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// The package that it is in.
    pub component: &'static str,
    /// The version of that package.
    pub version: &'static str,
    /// Names and schemas.
    pub parameters: &'static [(&'static str, Schema)],
    /// The schema of its value.
    pub output: Schema,
    /// Takes the arguments and gives the running function, or says what is wrong with them.
    pub start: fn(&[u8]) -> Result<Running, String>,
}

/// A JSON Schema as text, if the type has one. It is made when the component is described, and not before.
pub(crate) type Schema = fn() -> Option<String>;

/// A function that has been given its arguments.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Vec<u8>, Vec<u8>>>>>;

inventory::collect!(Function);

/// The arguments of an invocation, one after the other.
#[derive(Debug)]
pub struct Arguments<'a> {
    names: &'static [&'static str],
    values: std::vec::IntoIter<&'a RawValue>,
}

impl<'a> Arguments<'a> {
    /// A JSON array, of one value for each name.
    pub fn parse(function: &str, names: &'static [&'static str], payload: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(payload).map_err(|e| format!("the arguments are not text: {e}"))?;
        let values: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|e| format!("the arguments are not a JSON array: {e}"))?;
        if values.len() != names.len() {
            let plural = if names.len() == 1 { "" } else { "s" };
            let listed = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            return Err(format!(
                "`{function}` takes {} argument{plural}{listed}, and was given {}",
                names.len(),
                values.len()
            ));
        }
        Ok(Arguments { names, values: values.into_iter() })
    }

    /// The next one.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let index = self.names.len() - self.values.len();
        let value = self.values.next().expect("there are as many arguments as names");
        payload::parse(value.get()).map_err(|e| format!("argument {} `{}`: {e}", index + 1, self.names[index]))
    }
}

/// What is in this component, in the order of the names.
fn functions() -> Vec<&'static Function> {
    let mut functions: Vec<_> = inventory::iter::<Function>.into_iter().collect();
    functions.sort_by_key(|function| function.name);
    functions
}

async fn invoke(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    let start = || match inventory::iter::<Function>.into_iter().find(|function| function.name == name) {
        Some(function) => (function.start)(arguments),
        None => {
            let names: Vec<_> = functions().iter().map(|function| function.name).collect();
            Err(format!("there is no function `{name}` in this component; it has {}", names.join(", ")))
        }
    };
    match start() {
        Ok(running) => running.await,
        Err(message) => Err(payload::invalid_arguments(message)),
    }
}

/// Forwards what the `log` macros are given to the execution's log.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        };
        host::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

fn install_logger() {
    // An error says that there is one already, perhaps the function's own: then that one stays.
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

struct Component;

impl wit::Guest for Component {
    fn describe() -> wit::Component {
        let functions = functions();
        let (name, version) = functions.first().map_or(("", ""), |function| (function.component, function.version));
        wit::Component {
            name: name.to_owned(),
            version: version.to_owned(),
            functions: functions.into_iter().map(describe).collect(),
        }
    }

    async fn invoke(function: String, arguments: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        install_logger();
        let result = invoke(&function, &arguments).await;
        // A last line without its newline is still in std's buffer, which nothing else will flush. That it can't be
        // written is no reason to fail.
        let _ = std::io::stdout().flush();
        result
    }
}

fn describe(function: &Function) -> wit::Function {
    let parameter = |(name, schema): &(&str, Schema)| wit::Parameter { name: (*name).to_owned(), schema: schema() };
    wit::Function {
        name: function.name.to_owned(),
        doc: function.doc.to_owned(),
        parameters: function.parameters.iter().map(parameter).collect(),
        output: (function.output)(),
    }
}

// The exports are made here and not in the user's crate, so that it holds nothing but functions: symbols that a
// dependency exports are kept in a `cdylib`.
#[cfg(target_family = "wasm")]
crate::host::bindings::export!(Component with_types_in crate::host::bindings);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::prelude::*;
    use crate::serde_json;

    /// Adds.
    ///
    /// Two numbers.
    #[function]
    async fn add(a: u64, #[allow(unused_mut)] mut b: u64) -> u64 {
        b += a;
        b
    }

    #[function(name = "fails-always")]
    async fn fails() -> Result<()> {
        bail!("no")
    }

    fn invoked(name: &str, arguments: &str) -> Result<String, String> {
        let text = |payload: Vec<u8>| String::from_utf8(payload).expect("payloads are text");
        invoke(name, arguments.as_bytes()).now_or_never().expect("nothing is awaited").map(text).map_err(text)
    }

    #[test]
    fn functions_are_registered_described_and_invoked() {
        let described = <Component as wit::Guest>::describe();
        assert_eq!(described.name, "guest-sdk");
        let names: Vec<_> = described.functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["add", "fails-always"]);
        assert_eq!(described.functions[0].doc, "Adds.\n\nTwo numbers.");
        assert_eq!(described.functions[0].parameters[1].name, "b");
        assert_eq!(invoked("add", "[1, 2]").unwrap(), "3");
        assert_eq!(invoked("fails-always", "[]").unwrap_err(), r#"{"message":"no"}"#);
    }

    #[test]
    fn what_is_wrong_with_the_arguments_is_said() {
        let message = |name, arguments| {
            let error: Error = serde_json::from_str(&invoked(name, arguments).unwrap_err()).unwrap();
            error.to_string()
        };
        assert_eq!(message("add", r#"[1, "x"]"#), r#"argument 2 `b`: invalid type: string "x", expected u64"#);
        assert_eq!(message("add", "[1]"), "`add` takes 2 arguments (a, b), and was given 1");
        assert_eq!(message("fails-always", "[1]"), "`fails-always` takes 0 arguments, and was given 1");
        assert!(message("add", "{}").starts_with("the arguments are not a JSON array: "));
        assert_eq!(message("sub", "[]"), "there is no function `sub` in this component; it has add, fails-always");
    }
}
