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
