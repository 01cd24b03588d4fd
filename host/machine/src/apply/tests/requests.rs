//! Requests to other systems.

use super::*;

const URL: &str = "https://bank.example/pay";

fn world() -> World {
    let mut world = World::new();
    world.put(Op::Configure { scope: of_buy(), config: allow(&["bank.example"]) }).unwrap();
    world
}

#[test]
fn a_request_is_sent_once_and_its_step_has_the_answer() {
    let mut world = world();
    world.start("a").turn("a").asks(request(URL)).waits();
    assert!(world.effects.contains(&Effect::Send(id("a:1"))));
    assert!(matches!(&world.get("a:1").kind, PromiseKind::Http { reach: Reach::Private, head } if head.url == URL));
    world.settle("a:1", resolved("{}")).unwrap();
    assert!(!world.effects.contains(&Effect::Send(id("a:1"))));
    assert_eq!(world.answer("a", 1), Completion::Settled(resolved("{}")));
}

#[test]
fn what_the_configuration_does_not_allow_is_refused_by_name() {
    let mut world = world();
    world.start("a").turn("a").asks(request("https://evil.example/")).waits();
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
    let reason = refused(world.answer("a", 1));
    assert!(reason.contains("evil.example") && reason.contains("host config set buy --allow"), "{reason}");
}

#[test]
fn a_request_that_nobody_waits_for_is_over() {
    let mut world = world();
    world.start("a").turn("a").asks(request(URL)).asks(request(URL)).waits();
    world.turn("a").drops(1).waits();
    assert_eq!(world.state("a:1"), PromiseState::Canceled);
    assert_eq!(world.state("a:2"), PromiseState::Pending);
    world.turn("a").finishes("1");
    assert_eq!(world.state("a:2"), PromiseState::Canceled);
}

#[test]
fn a_request_ends_at_its_executions_deadline() {
    let mut world = world();
    world.start_until("a", 1500).turn("a").asks(request(URL)).waits();
    world.at(1500).expire("a");
    assert_eq!((world.state("a"), world.state("a:1")), (PromiseState::TimedOut, PromiseState::TimedOut));
}

#[test]
fn a_request_does_not_take_the_place_of_a_promise() {
    let mut world = world();
    world.create("a:1", FAR, Tags::from([(EXTERNAL.into(), "true".into())])).unwrap();
    world.start("a").turn("a").asks(request(URL)).waits();
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
    assert!(matches!(world.settled("a").0, Outcome::Crashed(why) if why.contains("\"a:1\"") && why.contains("taken")));
    assert!(matches!(world.get("a:1").kind, PromiseKind::External));
}
