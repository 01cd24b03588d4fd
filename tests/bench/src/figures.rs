//! Figures, as they are printed and written.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// Everything that was measured.
pub(crate) struct Report {
    figures: Vec<Figure>,
    /// What all figures have from now on.
    marks: Vec<(&'static str, Value)>,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    workload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// What the same can't take less than on this machine, in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_ms: Option<f64>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// How long each of many things took.
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// The time that a share of them didn't exceed.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let index = ((self.0.len() - 1) as f64 * share).round() as usize;
        self.0[index].as_secs_f64() * 1e3
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Figure {
    pub(crate) fn new(workload: impl Into<String>) -> Figure {
        Figure {
            workload: workload.into(),
            concurrency: None,
            per_second: None,
            p50_ms: None,
            p99_ms: None,
            floor_ms: None,
            more: Map::new(),
        }
    }

    pub(crate) fn concurrency(mut self, concurrency: usize) -> Figure {
        self.concurrency = Some(concurrency);
        self
    }

    pub(crate) fn rate(mut self, per_second: f64) -> Figure {
        self.per_second = Some(per_second);
        self
    }

    pub(crate) fn times(mut self, times: &Times) -> Figure {
        self.p50_ms = Some(times.quantile_ms(0.5));
        self.p99_ms = Some(times.quantile_ms(0.99));
        self
    }

    pub(crate) fn floor(mut self, floor_ms: f64) -> Figure {
        self.floor_ms = Some(floor_ms);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Figure {
        self.more.insert(name.into(), value.into());
        self
    }
}

impl Report {
    pub(crate) fn new() -> Report {
        println!(
            "{}",
            line(["workload", "conc.", "per second", "p50 ms", "p99 ms", "floor ms"].map(str::to_owned), "")
        );
        Report { figures: Vec::new(), marks: Vec::new() }
    }

    pub(crate) fn section(&self, title: &str) {
        println!("--- {title}");
    }

    /// All figures have these from now on.
    pub(crate) fn mark(&mut self, marks: &[(&'static str, Value)]) {
        self.marks = marks.to_vec();
    }

    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    pub(crate) fn add(&mut self, mut figure: Figure) {
        println!("{}", line(figure.columns(), &figure.rest()));
        figure.more.extend(self.marks.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.figures.push(figure);
    }

    /// The median of what was measured under a name.
    pub(crate) fn p50_ms(&self, workload: &str) -> f64 {
        self.figures.iter().find(|figure| figure.workload == workload).and_then(|f| f.p50_ms).unwrap_or(f64::NAN)
    }

    /// Write all of it as JSON, and beside that a table in Markdown, for a page of the documentation.
    pub(crate) fn write(&self, path: &Path, table: &str) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.figures).expect("figures are JSON");
        for (extension, text) in [("json", json.as_str()), ("md", table)] {
            let path = path.with_extension(extension);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            println!("written to {}", path.display());
        }
        Ok(())
    }

    /// All figures as a table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut table = String::from("| workload | concurrency | per second | p50 ms | p99 ms | floor ms | |\n");
        table.push_str("|---|---:|---:|---:|---:|---:|---|\n");
        for figure in &self.figures {
            table.push_str(&format!("| {} | {} |\n", figure.columns().join(" | "), figure.rest()));
        }
        table
    }
}

impl Figure {
    /// Whether it is of this workload, and at this concurrency if one is given.
    pub(crate) fn is(&self, workload: &str, concurrency: Option<usize>) -> bool {
        self.workload == workload && (concurrency.is_none() || self.concurrency == concurrency)
    }

    pub(crate) fn number(&self, field: &str) -> Option<f64> {
        match field {
            "per_second" => self.per_second,
            "p50_ms" => self.p50_ms,
            "p99_ms" => self.p99_ms,
            other => self.more.get(other)?.as_f64(),
        }
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.more.get(field)?.as_str()
    }

    fn columns(&self) -> [String; 6] {
        let number = |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        [
            self.workload.clone(),
            self.concurrency.map_or(String::new(), |concurrency| concurrency.to_string()),
            number(self.per_second, 0),
            number(self.p50_ms, 3),
            number(self.p99_ms, 3),
            number(self.floor_ms, 3),
        ]
    }

    fn rest(&self) -> String {
        let named: Vec<String> = self.more.iter().map(|(name, value)| format!("{name} {}", short(value))).collect();
        named.join(", ")
    }
}

fn line([workload, concurrency, rate, p50, p99, floor]: [String; 6], rest: &str) -> String {
    format!("{workload:<36} {concurrency:>5} {rate:>11} {p50:>9} {p99:>9} {floor:>9}  {rest}")
}

fn short(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
