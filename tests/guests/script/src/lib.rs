//! Does what a script says, all of it at once. The simulation of clusters makes them up.

#![allow(missing_docs)]

use std::time::UNIX_EPOCH;

use guest_sdk::prelude::*;
use guest_sdk::serde_json::Value;

#[data]
#[serde(rename_all = "snake_case")]
enum Scene {
    /// Play a script in an execution of its own: that of this id, or one of this call tree.
    Call { id: Option<String>, script: Vec<Scene> },
    /// Wait for a promise.
    Await { id: String },
    /// Settle a promise.
    Settle { id: String, value: u64 },
    /// Sleep until a time, in milliseconds since the Unix epoch.
    Sleep { until_ms: u64 },
    /// A step of its own work.
    Work,
}

/// Play a script. Returns what it was told of each scene.
#[function]
async fn play(script: Vec<Scene>) -> Vec<String> {
    join_all(script.into_iter().map(scene)).await
}

async fn scene(scene: Scene) -> String {
    match scene {
        Scene::Call { id, script } => {
            let call = play(script);
            let call = match id {
                Some(id) => call.id(id),
                None => call,
            };
            format!("{:?}", call.await)
        }
        Scene::Await { id } => format!("{:?}", await_promise::<Value>(id).await),
        Scene::Settle { id, value } => format!("{:?}", resolve(id, value).await),
        Scene::Sleep { until_ms } => {
            sleep_until(UNIX_EPOCH + Duration::from_millis(until_ms)).await;
            "slept".to_owned()
        }
        Scene::Work => format!("{:?}", run("work", async || Ok(0)).await),
    }
}
