//! What a node keeps on disk: copies of what the database of its cluster has, and of which cluster they are.
//!
//! A directory belongs to one cluster for good, so that a node that was given the wrong database by mistake says so
//! instead of taking part in somebody else's.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};

use host_database::Cluster;

/// Names the cluster: `<id> <name>`.
const FILE: &str = "cluster";

/// Make the directory if it isn't there, and see that it isn't a single host's. The cluster that it belongs to, if it does.
pub(super) fn open(data: &Path) -> anyhow::Result<Option<Cluster>> {
    std::fs::create_dir_all(data).with_context(|| format!("{} can't be made", data.display()))?;
    let is_single = data.join("store.redb").exists();
    ensure!(!is_single, "{} is the data of a host that isn't part of a cluster", data.display());
    read(data).with_context(|| format!("{} can't be read", data.join(FILE).display()))
}

/// Let a directory that belonged to this cluster, or to none, belong to it.
pub(super) fn claim(data: &Path, known: Option<Cluster>, cluster: &Cluster) -> anyhow::Result<()> {
    match known {
        Some(known) if known == *cluster => {}
        Some(known) => bail!(
            "{} is the data of a node of the cluster {known}, and the database is that of {cluster}: give it the \
             database of its own, or another directory (it has copies alone, and can be thrown away)",
            data.display()
        ),
        None => {
            let mut file = tempfile::NamedTempFile::new_in(data)?;
            writeln!(file, "{} {}", cluster.id, cluster.name)?;
            file.persist(data.join(FILE))?;
        }
    }
    Ok(())
}

/// The name of the cluster that a directory belongs to, if it does.
pub fn cluster_of(data: &Path) -> io::Result<Option<String>> {
    Ok(read(data)?.map(|cluster| cluster.name))
}

fn read(data: &Path) -> io::Result<Option<Cluster>> {
    let text = match std::fs::read_to_string(data.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let (id, name) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
    Ok(Some(Cluster { id: id.to_owned(), name: name.to_owned() }))
}
