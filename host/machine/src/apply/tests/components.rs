//! Which component a function is taken from.

use super::*;

fn install(world: &mut World, name: &str, digest: u8, functions: &[&str]) -> Result<Reply, Rejection> {
    world.put(Op::Install { component: component(name, digest, functions) })
}

/// The first byte of the digest of what an execution runs on.
fn runs_on(world: &World, execution: &str) -> u8 {
    world.execution(execution).component.0[0]
}

#[test]
fn a_function_belongs_to_one_component() {
    let mut world = World::new();
    let taken = Err(Rejection::FunctionTaken { function: "buy".into(), owner: "shop".into() });
    assert_eq!(install(&mut world, "market", 2, &["sell", "buy"]), taken);
    assert_eq!(world.invoke("a", "sell", FAR), Err(Rejection::NoFunction("sell".into())));
}

#[test]
fn a_component_has_one_name() {
    let mut world = World::new();
    install(&mut world, "market", 2, &["sell"]).unwrap();
    let renamed = Err(Rejection::Renamed { known: "market".into(), name: "bazaar".into() });
    assert_eq!(install(&mut world, "bazaar", 2, &["barter"]), renamed);
    assert!(world.invoke("a", "sell", FAR).is_ok());
}

#[test]
fn a_newer_version_can_drop_a_function_and_another_component_take_it() {
    let mut world = World::new();
    install(&mut world, "shop", 2, &["pay"]).unwrap();
    assert_eq!(world.invoke("a", "buy", FAR), Err(Rejection::NoFunction("buy".into())));
    install(&mut world, "market", 3, &["buy"]).unwrap();
    world.invoke("a", "buy", FAR).unwrap();
    assert_eq!(runs_on(&world, "a"), 3);
    assert!(install(&mut world, "shop", 1, &["buy", "pay"]).is_err(), "the way back is closed");
}

#[test]
fn an_execution_stays_on_the_version_that_it_started_on() {
    let mut world = World::new();
    world.start("a");
    install(&mut world, "market", 9, &["sell"]).unwrap();
    install(&mut world, "shop", 2, &["buy", "pay", "new"]).unwrap();
    install(&mut world, "market", 8, &["sell"]).unwrap();
    world.turn("a").asks(call("pay")).asks(call("sell")).asks(call("new")).asks(call_as("buy", "b")).waits();
    let versions = ["a", "a:1", "a:2", "a:3", "b"].map(|execution| runs_on(&world, execution));
    assert_eq!(versions, [1, 1, 8, 2, 1], "its own functions, the current ones of others, and what it hadn't then");
    world.invoke("c", "pay", FAR).unwrap();
    assert_eq!(runs_on(&world, "c"), 2);
}

#[test]
fn an_older_version_can_be_made_current_again() {
    let mut world = World::new();
    install(&mut world, "shop", 2, &["buy"]).unwrap();
    world.at(1500);
    install(&mut world, "shop", 1, &["buy", "pay"]).unwrap();
    world.invoke("a", "pay", FAR).unwrap();
    assert_eq!(runs_on(&world, "a"), 1);
    assert_eq!(world.state.components[&Digest([1; 32])].installed_at, 1500);
}

#[test]
fn a_component_that_is_current_is_not_installed_again() {
    let mut world = World::new();
    world.at(1500);
    assert_eq!(install(&mut world, "shop", 1, &["buy", "pay"]), Ok(Reply::Done));
    assert_eq!(world.state.components[&Digest([1; 32])].installed_at, 1000);
}

#[test]
fn a_component_goes_when_it_is_not_current_and_nothing_that_is_kept_runs_on_it() {
    let mut world = World::new();
    let [old, new] = [1, 2].map(|byte| Digest([byte; 32]));
    let uninstall = |world: &mut World| {
        world.put(Op::Uninstall { digests: vec![old, new, Digest([9; 32])] }).unwrap();
        [old, new].map(|digest| world.state.components.contains_key(&digest))
    };
    world.start("a");
    assert_eq!(uninstall(&mut world), [true, false], "it is current");
    install(&mut world, "shop", 2, &["buy", "pay"]).unwrap();
    world.invoke("b", "buy", FAR).unwrap();
    assert_eq!(uninstall(&mut world), [true, true], "something runs on it");
    world.turn("a").finishes("1");
    assert_eq!(uninstall(&mut world), [true, true], "what ran on it is kept");
    world.put(Op::Forget { trees: vec![Old { root: id("a"), ids: vec![id("a")], retention_ms: 0 }] }).unwrap();
    assert_eq!(uninstall(&mut world), [false, true]);
    install(&mut world, "shop", 1, &["buy", "pay"]).unwrap();
    let entries = world.execution("b").entries;
    world.put(Op::Move { id: id("b"), component: old, entries, replayed: 0 }).unwrap();
    assert_eq!(uninstall(&mut world), [true, false], "what ran on it runs on another");
    world.put(Op::Reset).unwrap();
    assert_eq!(uninstall(&mut world), [true, false], "it is current");
}
