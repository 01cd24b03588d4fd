//! Bad days of the database, and databases that are none.

use serde_json::json;
use tests::{Host, Postgres, Setup, guest, until};

use crate::{invoke, node, postgres, spread};

#[test]
fn nodes_live_through_a_crash_of_the_database() {
    let mut postgres = Postgres::start();
    let database = postgres.database("crash");
    let mut nodes: Vec<Host> = (0..2).map(|_| node(&database).start()).collect();
    spread(&nodes);
    nodes[0].upload(&guest("misbehave")).expect(201);
    nodes[0].post("/v1/functions/naps/invoke?id=naps&wait_ms=0", &json!([20, 300])).expect(202);
    for signal in [libc::SIGKILL, libc::SIGINT] {
        postgres.end(signal);
        // What can't be kept isn't promised.
        until("a node says that it can't answer", || {
            let answer = nodes[0].impatient().try_get("/v1/executions/naps").ok()?;
            (answer.status == 503).then_some(())
        });
        postgres.restart();
        nodes.iter_mut().for_each(Host::ready);
    }
    assert_eq!(invoke(&nodes[1], "naps", "naps", &json!([20, 300]))["value"], json!(20));
    let journal = nodes[1].get("/v1/executions/naps/journal").expect(200);
    let asked = journal["items"].as_array().expect("a journal has items").iter();
    assert_eq!(asked.filter(|entry| entry["entry"] == json!("asked")).count(), 20, "each nap once");
}

/// A node that can't take part says why, and ends.
#[track_caller]
pub(crate) fn refused(setup: Setup, expected: &str) {
    refuses(&mut setup.bare().prepare(), expected);
}

#[track_caller]
fn refuses(host: &mut Host, expected: &str) {
    host.spawn();
    let status = host.exit_within("a host that can't take part ends");
    assert!(!status.success());
    let log = until("it has said why", || Some(host.log()).filter(|log| log.contains(expected) || log.len() > 4_000));
    assert!(log.contains(expected), "{log}");
}

#[test]
fn what_is_no_database_for_it_is_refused_by_name() {
    refused(Setup::new().node_of("nonsense"), "the URL of the database is wrong");
    refused(Setup::new().node_of("postgres://host@127.0.0.1:1/none?sslmode=disable"), "can't be reached");
    refused(Setup::new().node_of(&postgres().url("absent")), "database \"absent\" does not exist");
    let foreign = postgres().database("foreign_tables");
    postgres().run("foreign_tables", "CREATE SCHEMA durable; CREATE TABLE durable.other (id int)");
    refused(Setup::new().node_of(&foreign), "give the cluster a database of its own");
    for (name, columns) in
        [("foreign_text", "'2'::text AS version"), ("foreign_number", "2 AS version"), ("odd", "1 AS x")]
    {
        let foreign = postgres().database(name);
        postgres().run(name, &format!("CREATE SCHEMA durable; CREATE TABLE durable.version AS SELECT {columns}"));
        refused(Setup::new().node_of(&foreign), "give the cluster a database of its own");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'durable'";
        assert_eq!(postgres().run(name, tables), ["1"], "nothing is made beside them");
    }
    let secret = postgres().secret_database("secret", "open-sesame");
    refused(Setup::new().node_of(&secret.replace("sesame", "barley")), "password authentication failed");
    refused(Setup::new().node_of(&postgres().url("secret")), "password");
    let mut admitted = Setup::new().node_of(&secret).start();
    assert!(admitted.stop().success());
    let newer = postgres().database("newer");
    postgres().run("newer", "CREATE SCHEMA durable; CREATE TABLE durable.version AS SELECT 99 AS version");
    refused(Setup::new().node_of(&newer), "this host knows version 2");
    let read_only = postgres().database("read_only");
    postgres().run("read_only", "ALTER DATABASE read_only SET default_transaction_read_only = on");
    refused(Setup::new().node_of(&read_only), "read-only");
}

#[test]
fn clusters_are_told_apart() {
    let database = postgres().database("whose");
    let named = |name: &str| node(&database).flag("--cluster-name", name);
    let mut nodes: Vec<Host> = (0..2).map(|_| named("billing").start()).collect();
    // By the name that the database was given.
    refused(named("shipping"), "of the cluster \"billing\"");
    refused(node(&database), "--cluster-name billing");
    refused(named("a b"), "a cluster's name has letters");
    spread(&nodes);
    nodes[0].post("/v1/promises", &json!({ "id": "kept" })).expect(201);
    // By the database that its directory is of.
    assert!(nodes[1].stop().success());
    let another = postgres().database("whose_else");
    let mut first_of_another = Setup::new().node_of(&another).flag("--cluster-name", "billing").start();
    nodes[1].set_cluster(Some(&another));
    refuses(&mut nodes[1], "is the data of a node of the cluster \"billing\"");
    assert_eq!(first_of_another.get("/v1/nodes").expect(200)["items"].as_array().map(Vec::len), Some(1));
    assert!(first_of_another.stop().success());
    // Nor does it make an empty one its own.
    let empty = postgres().database("whose_not");
    nodes[1].set_cluster(Some(&empty));
    refuses(&mut nodes[1], "it is empty, and this node has data of a cluster");
    assert_eq!(postgres().run("whose_not", "SELECT to_regnamespace('durable') IS NULL"), ["t"]);
    // A directory of a cluster isn't that of a single host, nor the other way round.
    let mut single = Setup::new().bare().start();
    assert!(single.stop().success());
    let third = postgres().database("whose_third");
    single.set_cluster(Some(&third));
    refuses(&mut single, "isn't part of a cluster");
    let mut forgetful = node(&third).start();
    assert!(forgetful.stop().success());
    forgetful.set_cluster(None);
    refuses(&mut forgetful, "is the data of a node of the cluster \"default\"");
    assert!(!forgetful.data().join("store.redb").exists(), "nothing was made in it");
    // Its own is its own.
    nodes[1].set_cluster(Some(&database));
    nodes[1].restart();
    spread(&nodes);
    assert_eq!(nodes[1].get("/v1/promises/kept").expect(200)["state"], json!("pending"));
}

#[test]
fn a_node_is_its_number_and_its_certificate() {
    const NAME: &str = "numbers";
    let database = postgres().database(NAME);
    let node = node(&database).start();
    let number = || node.try_get("/ready").ok().filter(|answer| answer.status == 200).map(|a| a.json()["node"].clone());
    let first = until("it has a number", number);
    node.post("/v1/promises", &json!({ "id": "before" })).expect(201);
    // A failover gave the number to another process, which lets it be.
    postgres().run(NAME, "UPDATE durable.node SET certificate = 'another'");
    until("it comes back under another number", || number().filter(|number| *number != first));
    node.post("/v1/promises/before/resolve", &json!(1)).expect(200);
    // And another one gave it another cluster's database: it has no part in that.
    postgres().run(NAME, "UPDATE durable.cluster SET id = 'another'; DELETE FROM durable.node");
    until("it says that it can't answer", || {
        let answer = node.impatient().try_get("/v1/promises/before").ok()?;
        (answer.status == 503).then_some(())
    });
    assert_eq!(postgres().run(NAME, "SELECT count(*) FROM durable.node"), ["0"]);
    until("it says why", || node.log().contains("that of another cluster now").then_some(()));
}
