//! `host upload`.

use std::path::PathBuf;

use clap::Args;

use super::check::{mount, read};
use super::client::{Answer, items_json};
use super::documents::Component;
use super::failure::Failure;
use super::screen::safe;
use super::{Context, Ending};

/// Upload components, so that their functions can be called
///
/// A component takes the place of the one with its name. Executions that run on the older one go on with it; new ones
/// run on the new one. The same file again changes nothing.
#[derive(Args)]
#[command(after_help = "Example:\n  host upload target/wasm32-wasip2/release/countdown.wasm")]
pub(super) struct Upload {
    /// WebAssembly components
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Refuse one on which an execution under way would not go on unchanged; see `host check`
    #[arg(long)]
    check: bool,
    /// Where a component is served that answers requests over HTTP (that exports the handler of wasi:http): at
    /// /http/NAME/ [default: the file's name]
    #[arg(long, value_name = "NAME")]
    mount: Option<String>,
}

impl Upload {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let Context { client, screen } = context;
        let mut documents = Vec::new();
        for path in &self.files {
            let wasm = read(path)?;
            let mount = mount(self.mount.as_deref(), path).map(|mount| ("mount", mount));
            let check = self.check.then(|| ("check", "true".to_owned()));
            let query: Vec<_> = mount.into_iter().chain(check).collect();
            let answer: Answer<Component> =
                client.upload("/v1/components", &query, &wasm).map_err(|failure| match failure {
                    Failure::Refused { status, code, message, retry_after } => {
                        let message = format!("{}: {message}", path.display());
                        Failure::Refused { status, code, message, retry_after }
                    }
                    other => other,
                })?;
            if !screen.json {
                screen.print(&summary(context, &answer.document))?;
            }
            documents.push(answer.text);
        }
        if screen.json {
            screen.print(&items_json(documents.iter().map(String::as_str)))?;
        }
        Ok(Ending::Well)
    }
}

fn summary(context: &Context, component: &Component) -> String {
    let paint = context.screen.out;
    let names: Vec<_> = component.functions.iter().map(|function| safe(&function.name)).collect();
    let digest = component.digest.get(..12).unwrap_or(&component.digest);
    let (name, version) = (safe(&component.name), safe(&component.version));
    format!("{} {version} {}: {}", paint.bold(&name), paint.dim(digest), names.join(", "))
}
