//! Days on which the database is there and doesn't do what it should: full, out of connections, read-only; and databases that
//! are talked to by TLS alone.

use serde_json::json;
use tests::{Authority, Host, Postgres, Setup, guest, until};

use crate::database::refused;
use crate::{ids_on, invoke, node, spread};

/// What a database says whose disk is full.
const FULL: &str = "No space left on device";

/// Wait until a node refuses what it is asked, about a promise that it has, and says why; not only to those who ask for this.
#[track_caller]
fn refuses(node: &Host, kept: &str, expected: &str) {
    for path in [&format!("/v1/promises/{kept}"), "/health", "/ready"] {
        until(&format!("a node refuses what it is asked, because of {expected}"), || {
            let answer = node.impatient().try_get(path).ok()?;
            (answer.status == 503 && answer.text.contains(expected)).then_some(())
        });
    }
}

#[test]
fn a_full_database_is_waited_for() {
    let mut postgres = Postgres::start();
    let (database, disk) = postgres.small_database("small", 64 << 20);
    let nodes: Vec<Host> = (0..2).map(|_| node(&database).start()).collect();
    spread(&nodes);
    nodes[0].upload(&guest("misbehave")).expect(201);
    let kept = ids_on(&nodes, "kept");
    kept.iter().for_each(|id| drop(nodes[0].post("/v1/promises", &json!({ "id": id })).expect(201)));
    nodes[0].post("/v1/functions/naps/invoke?id=naps&wait_ms=0", &json!([20, 200])).expect(202);
    let ballast = disk.join("ballast");
    let filled = std::fs::write(&ballast, vec![0; 64 << 20]);
    assert!(filled.is_err(), "it has less room than that");
    // What is recorded makes it full at some time, for one of them first: the other one may have a page left.
    let value = json!("x".repeat(100_000));
    let mut made = Vec::new();
    until("a node takes nothing on", || {
        let id = format!("more-{}", made.len());
        let new = json!({ "id": id, "param": value }).to_string();
        match nodes[0].impatient().try_post("/v1/promises", new.as_bytes()) {
            Ok(answer) if answer.status == 201 => made.push(id),
            Ok(answer) if answer.status == 503 => return Some(()),
            Ok(answer) => panic!("{} {}", answer.status, answer.text),
            Err(_) => {}
        }
        None
    });
    // Snapshots that fail are no reason to refuse anything.
    let refuses_all = |line: &str| line.contains(FULL) && line.contains("nothing is recorded or answered");
    let full = until("a node says why", || nodes.iter().position(|node| node.log().lines().any(refuses_all)));
    refuses(&nodes[full], &kept[full], FULL);
    std::fs::remove_file(&ballast).expect("it is there");
    for node in &nodes {
        until("it answers again", || node.try_get("/ready").ok().filter(|answer| answer.status == 200));
    }
    assert_eq!(invoke(&nodes[1], "naps", "naps", &json!([20, 200]))["value"], json!(20));
    for id in made.iter().chain(&kept) {
        assert_eq!(nodes[1].get(&format!("/v1/promises/{id}")).expect(200)["state"], json!("pending"));
    }
}

#[test]
fn a_database_without_connections_is_waited_for() {
    let postgres = Postgres::start_with(&["max_connections=24"]);
    let database = postgres.database("busy");
    {
        let _occupied = postgres.occupy();
        refused(Setup::new().node_of(&database), "too many clients already");
    }
    let node = node(&database).start();
    node.upload(&guest("misbehave")).expect(201);
    node.post("/v1/promises", &json!({ "id": "kept" })).expect(201);
    // What was closed a moment ago can be taken a moment later.
    let mut occupied = Vec::new();
    let refused = until("there are no connections left", || {
        occupied.push(postgres.occupy());
        Some(node.upload(&guest("web"))).filter(|answer| answer.status != 201)
    });
    assert!(refused.refusal(503, "unavailable").contains("too many clients already"), "{}", refused.text);
    // With what it has it goes on.
    assert_eq!(invoke(&node, "echo", "meanwhile", &json!([1]))["value"], json!(1));
    occupied.clear();
    // Without any it has lost its database.
    node.signal(libc::SIGSTOP);
    postgres.run("postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'busy'");
    occupied.push(postgres.occupy());
    node.signal(libc::SIGCONT);
    refuses(&node, "kept", "too many clients already");
    assert!(node.log().contains("too many clients already"));
    occupied.clear();
    until("it answers again", || node.try_get("/ready").ok().filter(|answer| answer.status == 200));
    assert_eq!(node.get("/v1/promises/kept").expect(200)["state"], json!("pending"));
    assert_eq!(invoke(&node, "echo", "after", &json!([2]))["value"], json!(2));
    node.upload(&guest("web")).expect(201);
}

#[test]
fn a_database_that_becomes_read_only_is_waited_for() {
    let postgres = Postgres::start();
    let database = postgres.database("read_only");
    let node = node(&database).start();
    node.post("/v1/promises", &json!({ "id": "kept" })).expect(201);
    let say = |statement: &str| drop(postgres.run("postgres", statement));
    let disconnect = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'read_only'";
    say("ALTER DATABASE read_only SET default_transaction_read_only = on");
    say(disconnect);
    refuses(&node, "kept", "read-only transaction");
    assert!(node.log().contains("read-only transaction"));
    say("ALTER DATABASE read_only RESET default_transaction_read_only");
    until("it answers again", || node.try_get("/ready").ok().filter(|answer| answer.status == 200));
    node.post("/v1/promises/kept/resolve", &json!(1)).expect(200);
}

#[test]
fn a_database_is_talked_to_by_tls() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let postgres = Postgres::start_encrypted(&authority);
    postgres.run("postgres", "CREATE DATABASE encrypted");
    let url = |options: &str| postgres.url_with("encrypted", options);
    let trusting = |authority: &Authority| format!("sslmode=verify-full&sslrootcert={}", authority.file().display());
    let node_of = |options: &str| Setup::new().node_of(&url(options));
    refused(node_of(&trusting(&stranger)), "isn't of an authority that is trusted here");
    refused(node_of("sslmode=require"), "sslrootcert=FILE names one that is");
    refused(node_of("sslmode=disable"), "no encryption");
    refused(node_of("sslmode=verify-full&sslrootcert=/nowhere"), "sslrootcert /nowhere can't be used");
    refused(node_of("sslmode=verify-ca"), "verify-full looks at the server's name as well");
    let elsewhere = Postgres::start();
    let plain = Setup::new().node_of(&elsewhere.url_with("postgres", &trusting(&authority)));
    refused(plain, "server does not support TLS");
    // The certificate is for an address, and not for each that leads there.
    let renamed = url(&trusting(&authority)).replace(postgres.address(), "localhost");
    let renamed = format!("{renamed}&hostaddr={}", postgres.address());
    refused(Setup::new().node_of(&renamed), "its certificate is refused");

    let nodes: Vec<Host> = (0..2).map(|_| node(&url(&trusting(&authority))).start()).collect();
    spread(&nodes);
    nodes[0].upload(&guest("misbehave")).expect(201);
    assert_eq!(invoke(&nodes[1], "echo", "encrypted", &json!([1]))["value"], json!(1));
    let how =
        "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.datname = 'encrypted'";
    assert_eq!(postgres.run("postgres", how), ["t"]);
}
