//! `host functions`: what can be called, and how.

use clap::Args;
use serde_json::Value;

use super::client::{Answer, segment};
use super::documents::{Function, Items};
use super::failure::Failure;
use super::screen::{Cell, Table, safe, short};
use super::{Context, Ending};

/// List the functions that can be called, or show one
#[derive(Args)]
#[command(after_help = "Examples:\n  host functions\n  host functions countdown")]
pub(super) struct Functions {
    /// The function to show, with its documentation and what it takes
    name: Option<String>,
}

impl Functions {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let Context { client, screen } = context;
        match self.name {
            Some(name) => {
                let path = format!("/v1/functions/{}", segment(&name));
                let Answer { text, document } = client.get::<Function>(&path, &[])?;
                screen.show(&text, || describe(context, &document))?;
            }
            None => {
                let Answer { text, document } = client.get::<Items<Function>>("/v1/functions", &[])?;
                screen.show(&text, || list(context, &document.items))?;
                if document.items.is_empty() && !screen.json {
                    screen.note("no functions yet: upload a component with `host upload FILE`");
                }
            }
        }
        Ok(Ending::Well)
    }
}

fn list(context: &Context, functions: &[Function]) -> String {
    if functions.is_empty() {
        return String::new();
    }
    let paint = context.screen.out;
    let mut table = Table::new(paint, &["FUNCTION", "COMPONENT", "WHAT IT DOES"]);
    for function in functions {
        let component = function.component.as_ref().map(|c| format!("{} {}", c.name, c.version)).unwrap_or_default();
        table.row(vec![
            Cell::painted(safe(&signature(function)), |text| paint.bold(text)),
            Cell::plain(safe(&component)),
            Cell::plain(short(function.doc.lines().next().unwrap_or_default(), 80)),
        ]);
    }
    table.render()
}

fn describe(context: &Context, function: &Function) -> String {
    let paint = context.screen.out;
    let mut text = paint.bold(&safe(&signature(function)));
    if let Some(output) = &function.output {
        text += &format!(" → {}", safe(&type_of(output)));
    }
    text.push('\n');
    for line in function.doc.lines() {
        text += &format!("{}\n", safe(line));
    }
    let schemas = function.parameters.iter().map(|p| (p.name.as_str(), p.schema.as_ref()));
    for (name, schema) in schemas.chain([("result", function.output.as_ref())]) {
        let Some(schema) = schema else { continue };
        text += &format!("\n{} {}\n", paint.bold(&safe(name)), safe(&schema.to_string()));
    }
    if let Some(component) = &function.component {
        let (name, version) = (safe(&component.name), safe(&component.version));
        text += &format!("\n{}\n", paint.dim(&format!("in {name} {version}, sha256 {}", component.digest)));
    }
    text
}

/// `transfer(from: string, cents: integer)`
fn signature(function: &Function) -> String {
    let parameter = |parameter: &super::documents::Parameter| match &parameter.schema {
        Some(schema) => format!("{}: {}", parameter.name, type_of(schema)),
        None => parameter.name.clone(),
    };
    let parameters: Vec<String> = function.parameters.iter().map(parameter).collect();
    format!("{}({})", function.name, parameters.join(", "))
}

/// A JSON Schema in a word, as far as it goes.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join("|");
    }
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => match schema.get("items") {
            Some(items) => format!("[{}]", type_of(items)),
            None => "array".into(),
        },
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        _ => {
            let title = schema.get("title").and_then(Value::as_str);
            let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            title.or(reference).unwrap_or("any").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_in_a_word() {
        let of = |json: &str| type_of(&serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"type":"integer","minimum":0}"#), "integer");
        assert_eq!(of(r#"{"type":["string","null"]}"#), "string|null");
        assert_eq!(of(r#"{"type":"array","items":{"type":"string"}}"#), "[string]");
        assert_eq!(of(r#"{"type":"string","enum":["a","b"]}"#), "\"a\"|\"b\"");
        assert_eq!(of(r##"{"$ref":"#/$defs/Trouble"}"##), "Trouble");
        assert_eq!(of("true"), "any");
    }
}
