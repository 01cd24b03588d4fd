//! `host migrate`: from one host to a cluster.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::screen::Screen;
use super::{Ending, config};
use host_cluster::{Migrated, migrate};

/// Move what a host has into the database of a cluster
///
/// The host has to be stopped, and no node of the cluster can have been started yet. The data directory stays as it is;
/// don't serve from it any more, since what it had goes on in the cluster.
#[derive(Args)]
#[command(after_help = "Example:\n  host migrate --data ./data --cluster postgres://host@db.example.com/functions")]
pub(super) struct Migrate {
    /// The data directory
    #[arg(long, env = "HOST_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// The database of the cluster: postgres://USER:PASSWORD@HOST/NAME
    #[arg(long, env = "HOST_CLUSTER", value_name = "URL", hide_env_values = true)]
    cluster: String,
    /// What the cluster is called
    #[arg(long, env = "HOST_CLUSTER_NAME", value_name = "NAME", default_value = config::CLUSTER_NAME,
        value_parser = config::cluster_name)]
    cluster_name: String,
}

impl Migrate {
    pub(super) fn run(self, screen: &Screen) -> Result<Ending, Failure> {
        let failed = |error: anyhow::Error| Failure::Serve(format!("nothing was moved: {error:#}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.into()))?;
        let Migrated { promises, files } =
            runtime.block_on(migrate(&self.data, &self.cluster, &self.cluster_name)).map_err(failed)?;
        screen.show(&json!({ "promises": promises, "files": files }).to_string(), || {
            format!("{promises} promises and {files} components and values are in the cluster")
        })?;
        Ok(Ending::Well)
    }
}
