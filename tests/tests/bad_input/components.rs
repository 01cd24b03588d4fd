//! Files that are no components of durable functions.

use serde_json::json;
use tests::{Client, Setup, guest};

/// An upload that is refused, and in which words.
#[track_caller]
fn refused(host: &Client, wasm: &[u8], parts: &[&str]) {
    let before = host.items("/v1/components");
    let refusal = host.upload(wasm).refusal(422, "invalid_component");
    for part in parts {
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    }
    assert_eq!(host.items("/v1/components"), before, "nothing was installed");
}

#[test]
fn what_is_no_component_is_refused_by_what_it_is() {
    let host = Setup::new().start();
    refused(&host, b"#!/bin/sh\necho hello\n", &["not a WebAssembly component"]);
    refused(&host, b"", &["not a WebAssembly component"]);
    refused(&host, b"\0as", &["not a WebAssembly component"]);
    let core_module = b"\0asm\x01\0\0\0";
    refused(&host, core_module, &["core WebAssembly module", "wasm32-wasip2"]);
    let empty_component = b"\0asm\x0d\0\x01\0";
    refused(&host, empty_component, &["durable:functions/functions", "no durable functions"]);
    let whole = guest("countdown");
    refused(&host, &whole[..whole.len() / 2], &["not valid"]);
    assert_eq!(host.call("countdown", json!([1, 1])), 1, "the others are as they were");
}

#[test]
fn a_component_of_another_world_is_refused_by_what_it_lacks() {
    let host = Setup::new().start();
    refused(&host, &renamed("durable:functions/durable@1.0.0", "durable:functions/durable@9.0.0"), &["@9.0.0"]);
    refused(&host, &renamed("durable:functions/functions@1.0.0", "durable:functions/functionz@1.0.0"), &["functionz"]);
}

/// A guest in which an interface has another name.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut wasm = guest("bare");
    let mut count = 0;
    for start in 0..wasm.len() - from.len() {
        if wasm[start..].starts_with(from.as_bytes()) {
            wasm[start..start + to.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{from} is not in the component");
    wasm
}

#[test]
fn a_component_that_is_too_large_is_refused() {
    let wasm = guest("countdown");
    let host = Setup::new().bare().flag("--component-limit", wasm.len() - 1).start();
    let answer = host.upload(&wasm);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.text.contains("--component-limit"), "{}", answer.text);
    assert!(host.items("/v1/components").is_empty());

    let host = Setup::new().bare().flag("--component-limit", wasm.len()).start();
    host.upload(&wasm).expect(201);
}

/// Any byte of a component changed: it is refused, or it is a component; it never takes the host down.
#[test]
fn damaged_components_do_no_harm() {
    let mut random = tests::Random::from_env("DAMAGE_SEED");
    let host = Setup::new().bare().start();
    let whole = guest("bare");
    let mut refused = 0;
    for _ in 0..12 {
        let mut wasm = whole.clone();
        for _ in 0..4 {
            let place = random.below(wasm.len() as u64) as usize;
            wasm[place] ^= 1 << random.below(8);
        }
        let answer = host.upload(&wasm);
        assert!(matches!(answer.status, 201 | 409 | 422), "{answer:?}");
        refused += u32::from(answer.status == 422);
    }
    println!("{refused} of 12 were refused");
    host.upload(&whole).expect(201);
    assert_eq!(host.call("bare_echo", json!([1])), json!([1]));
}
