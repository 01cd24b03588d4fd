//! What can't be undercut on this machine: a flush of its disk, a commit, an instance of the component, an answered import.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use host_log::{EmbeddedLog, Group, Log};
use host_runtime::{Limits, Program, Runtime, Session, Start, Status};
use host_store::Disk;
use machine::{Completion, Event, Id, Outcome, Payload};

use crate::figures::{Figure, Report, Times};
use crate::workloads::Floors;

const FLUSH: &str = "floor: write 4 KiB and fdatasync";
const COMMIT: &str = "floor: commit a record to the log";
const GUEST: &str = "floor: start, call and drop a guest";
const IMPORT: &str = "floor: tell a guest of an import";

/// What was measured, to stand beside what can't take less.
pub(crate) fn known(report: &Report) -> Floors {
    Floors { commit: report.p50_ms(COMMIT), guest: report.p50_ms(GUEST), import: report.p50_ms(IMPORT) }
}

/// Overwriting a page of a file and flushing it; and one commit of a host's log, with all its flushes.
pub(crate) fn disk(report: &mut Report, directory: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(directory.join("floor"))?;
    let page = [7u8; 4096];
    (0..256).try_for_each(|n| file.write_all_at(&page, n * 4096))?;
    file.sync_all()?;
    let mut times = Vec::new();
    for n in 0..1_000 {
        let start = Instant::now();
        file.write_all_at(&page, n % 256 * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    report.add(Figure::new(FLUSH).times(&Times::new(times)));

    let mut log = EmbeddedLog::open(directory, [1; 16], 0, &Arc::new(Disk::default()))?;
    let mut times = Vec::new();
    for first in 1..=1_000 {
        let mut bytes = 200u32.to_le_bytes().to_vec();
        bytes.resize(204, 7);
        let start = Instant::now();
        // The log of a host at work is short: what is in the store is trimmed.
        log.append(&Group { first, count: 1, bytes }, first.saturating_sub(8))?;
        times.push(start.elapsed());
    }
    report.add(Figure::new(COMMIT).times(&Times::new(times)));
    Ok(())
}

fn start(runtime: &Runtime, program: &Program, function: &str, arguments: &'static str) -> Session {
    let start = Start {
        id: Id::root("floor").expect("it is an id"),
        function: function.into(),
        arguments: Payload::from_static(arguments.as_bytes()),
        seed: 1,
        now_ms: 0,
        outputs_written: 0,
        names: Default::default(),
        wanted: Default::default(),
        setting: runtime.setting(),
    };
    runtime.start(program, start)
}

/// Starting an instance, calling it and dropping it; and telling it of an import, until it asks for the next.
pub(crate) fn guest(report: &mut Report, component: &Path) -> Result<()> {
    let wasm = std::fs::read(component).with_context(|| format!("{}: build it first", component.display()))?;
    let runtime = Runtime::new(Limits::default())?;
    let begun = Instant::now();
    let compiled = runtime.compile(&wasm, None)?;
    let compile = begun.elapsed();
    let directory = tempfile::tempdir()?;
    let artifact = directory.path().join("compiled");
    std::fs::write(&artifact, &compiled.artifact)?;
    let begun = Instant::now();
    let program = runtime.load(&artifact)?;
    let load = begun.elapsed();

    let mut times = Vec::new();
    for _ in 0..10_000 {
        let begun = Instant::now();
        let mut session = start(&runtime, &program, "echo", "[1]");
        let mut status = Status::Yielded;
        while status == Status::Yielded {
            status = session.poll().status;
        }
        anyhow::ensure!(matches!(status, Status::Finished(Outcome::Resolved(_))), "echo ended in {status:?}");
        drop(session);
        times.push(begun.elapsed());
    }
    report.add(Figure::new(GUEST).times(&Times::new(times)));

    const STEPS: u32 = 100_000;
    let mut session = start(&runtime, &program, "naps", "[100000]");
    let mut asked = 0;
    let begun = Instant::now();
    for told in 1..=STEPS {
        loop {
            let turn = session.poll();
            asked += turn.events.iter().filter(|event| matches!(event, Event::Asked { .. })).count();
            if turn.status != Status::Yielded {
                break;
            }
        }
        session.tell(told, Completion::Settled(Outcome::Resolved(Payload::new())), u64::from(told));
    }
    let each = begun.elapsed() / STEPS;
    anyhow::ensure!(asked == STEPS as usize, "{asked} steps were asked, of {STEPS}");
    let figure = Figure::new(IMPORT).rate(1.0 / each.as_secs_f64());
    report.add(figure.times(&Times::new(vec![each])));
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let figure = Figure::new("floor: compile and load a component");
    report.add(figure.with("bytes", wasm.len()).with("compile_ms", ms(compile)).with("load_ms", ms(load)));
    Ok(())
}

/// The machine, so that figures of two machines aren't taken for each other.
pub(crate) fn machine(report: &mut Report) -> Result<()> {
    let read = |path: &str, name: &str| -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1.trim().to_owned())
    };
    let memory = read("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory_mib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10;
    let figure = Figure::new("this machine").with("cores", std::thread::available_parallelism()?.get());
    let figure = figure.with("processor", read("/proc/cpuinfo", "model name").unwrap_or_default());
    report.add(figure.with("memory_mib", memory_mib));
    Ok(())
}
