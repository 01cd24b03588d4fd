//! `host journal`.

use clap::Args;

use super::client::{items_json, segment};
use super::documents::Entry;
use super::failure::Failure;
use super::{Context, Ending};

/// Show the journal of an execution: what it asked and what it was told, in order
#[derive(Args)]
#[command(after_help = "Example:\n  host journal transfer-7")]
pub(super) struct Journal {
    /// The execution
    id: String,
}

impl Journal {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let Context { client, screen } = context;
        let items = client.all(&format!("/v1/executions/{}/journal", segment(&self.id)))?;
        if screen.json {
            screen.print(&items_json(items.iter().map(|item| item.get())))?;
            return Ok(Ending::Well);
        }
        let mut began = None;
        let mut elapsed = None;
        let mut text = String::new();
        for item in &items {
            let entry: Entry = client.read(item.get())?;
            began = began.or(entry.at_ms);
            elapsed = entry.at_ms.zip(began).map(|(at, began)| at.saturating_sub(began)).or(elapsed);
            let index = screen.out.dim(&format!("{:>5}", entry.index));
            text += &format!("{index} {}\n", screen.out.entry(&entry, elapsed));
        }
        screen.print(&text)?;
        Ok(Ending::Well)
    }
}
