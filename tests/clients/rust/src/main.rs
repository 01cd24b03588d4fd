//! Functions for the SDK for Rust, and a command line to them: see ../typescript/program.ts.

use std::io::Write;
use std::time::Duration;

use resonate_sdk::prelude::*;
use serde_json::Value;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn mark(line: String) {
    let path = variable("MARKS").expect("MARKS names a file");
    let mut marks = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("marks can be made");
    writeln!(marks, "{line}").expect("marks can be made");
}

#[resonate_sdk::function]
async fn add(a: i64, b: i64) -> Result<i64> {
    Ok(a + b)
}

#[resonate_sdk::function]
async fn square(n: i64) -> Result<i64> {
    Ok(n * n)
}

#[resonate_sdk::function]
async fn fail(what: String, why: String) -> Result<()> {
    Err(Error::Application { message: format!("{what}: {why}") })
}

/// Half of the squares are made here, the others by whoever in the group takes them; all at once.
#[resonate_sdk::function]
async fn gather(ctx: &Context, n: i64) -> Result<i64> {
    let (mut here, mut anywhere) = (Vec::new(), Vec::new());
    for i in 1..=n {
        if i % 2 == 1 {
            here.push(ctx.run(square, i).spawn()?);
        } else {
            anywhere.push(ctx.rpc::<i64>("square", i).spawn()?);
        }
    }
    let mut sum = 0;
    for one in here {
        sum += one.await?;
    }
    for one in anywhere {
        sum += one.await?;
    }
    Ok(sum)
}

#[resonate_sdk::function]
async fn nap(ctx: &Context, ms: u64) -> Result<String> {
    ctx.sleep(Duration::from_millis(ms)).await?;
    Ok("rested".into())
}

/// Asks a person, who finds the promise by its id.
#[resonate_sdk::function]
async fn ask(ctx: &Context) -> Result<Value> {
    let answer = ctx.promise::<Value>().create()?;
    mark(format!("asked {}", answer.id().await?));
    answer.await
}

#[resonate_sdk::function]
async fn steps(ctx: &Context, n: u64, ms: u64) -> Result<u64> {
    for i in 1..=n {
        ctx.run(step, i).await?;
        ctx.sleep(Duration::from_millis(ms)).await?;
    }
    Ok(n)
}

#[resonate_sdk::function]
async fn step(info: &Info, i: u64) -> Result<()> {
    mark(format!("step {} {i}", info.id()));
    Ok(())
}

#[resonate_sdk::function]
async fn tick(info: &Info) -> Result<()> {
    mark(format!("tick {}", info.id()));
    Ok(())
}

/// A function that is WebAssembly, somewhere.
#[resonate_sdk::function]
async fn wasm(ctx: &Context, func: String, argument: Value) -> Result<Value> {
    ctx.rpc::<Value>(&func, argument).target("poll://any@wasm").await
}

#[tokio::main]
async fn main() -> Result<()> {
    let resonate = Resonate::new(ResonateConfig {
        url: variable("RESONATE_URL"),
        group: variable("GROUP"),
        ttl: variable("LEASE_MS").map(|text| text.parse().expect("LEASE_MS is a number")),
        ..ResonateConfig::default()
    });
    resonate.register(add)?;
    resonate.register(square)?;
    resonate.register(fail)?;
    resonate.register(gather)?;
    resonate.register(nap)?;
    resonate.register(ask)?;
    resonate.register(steps)?;
    resonate.register(step)?;
    resonate.register(tick)?;
    resonate.register(wasm)?;

    let target = variable("TARGET").unwrap_or_else(|| "default".into());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let json = |text: &&str| serde_json::from_str::<Value>(text).expect("arguments are JSON");
    // This SDK has no argument be null, one stand for itself, and several in an array.
    let arguments = |texts: &[&str]| match texts {
        [] => Value::Null,
        [text] => json(text),
        texts => texts.iter().map(json).collect(),
    };
    let result = match words.as_slice() {
        ["serve"] => {
            println!("serving");
            std::future::pending().await
        }
        ["schedule", name, cron, function, rest @ ..] => {
            resonate.schedule(name, cron, function, arguments(rest)).target(&target).await?;
            Value::Null
        }
        ["rpc", id, function, rest @ ..] => resonate.rpc(id, function, arguments(rest)).target(&target).await?,
        // What runs here is named by its type.
        ["run", id, "add", a, b] => {
            let number = |text: &str| text.parse::<i64>().expect("it is a number");
            resonate.run(id, add, (number(a), number(b))).await?.into()
        }
        ["run", id, "gather", n] => resonate.run(id, gather, n.parse().expect("it is a number")).await?.into(),
        _ => panic!("what is {words:?}?"),
    };
    println!("{result}");
    resonate.stop().await
}
