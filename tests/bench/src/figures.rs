//! Figures, as they are printed and written.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// Everything that was measured.
pub(crate) struct Report {
    figures: Vec<Figure>,
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
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// How long each of many things took.
pub(crate) struct Times(Vec<Duration>);

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
        let workload = workload.into();
        Figure { workload, concurrency: None, per_second: None, p50_ms: None, p99_ms: None, more: Map::new() }
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

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Figure {
        self.more.insert(name.into(), value.into());
        self
    }
}

impl Report {
    pub(crate) fn new() -> Report {
        println!("{:<34} {:>5} {:>11} {:>9} {:>9}", "workload", "conc.", "per second", "p50 ms", "p99 ms");
        Report { figures: Vec::new() }
    }

    pub(crate) fn section(&self, title: &str) {
        println!("--- {title}");
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        let number = |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        let more: Vec<String> = figure.more.iter().map(|(name, value)| format!("{name} {}", short(value))).collect();
        println!(
            "{:<34} {:>5} {:>11} {:>9} {:>9}  {}",
            figure.workload,
            figure.concurrency.map_or(String::new(), |c| c.to_string()),
            number(figure.per_second, 0),
            number(figure.p50_ms, 3),
            number(figure.p99_ms, 3),
            more.join(", ")
        );
        self.figures.push(figure);
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.figures).expect("figures are JSON")
    }
}

fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => format!("{number:.3}"),
        _ => value.to_string(),
    }
}
