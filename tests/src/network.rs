//! Networks of our own, for tests that pull cables: each node is in a network namespace of Linux, with one cable to its
//! clients, one to the other nodes and one to the database. The test itself has the first address on each network.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use crate::host::{PEER_PORT, PORT};

/// What a node is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Clients, and whatever functions send requests to.
    Clients,
    /// The other nodes.
    Peers,
    /// The database.
    Database,
}

/// Three networks, and so many places for nodes. They go with it.
pub struct Network {
    /// Tells its names and addresses from those of other processes.
    own: u32,
    places: usize,
}

/// Where a node is.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: String,
    pub(crate) listen: String,
    pub(crate) advertise: String,
}

impl Network {
    /// Make it. That takes the rights of root.
    #[track_caller]
    pub fn new(places: usize) -> Network {
        let network = Network { own: std::process::id(), places };
        for cable in Cable::ALL {
            let (bridge, address) = (network.bridge(cable), network.address(cable));
            ip(&["link", "add", &bridge, "type", "bridge"]);
            ip(&["address", "add", &format!("{address}/24"), "dev", &bridge]);
            ip(&["link", "set", &bridge, "up"]);
        }
        for place in 0..places {
            let namespace = network.namespace(place);
            ip(&["netns", "add", &namespace]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            for cable in Cable::ALL {
                let (end, device) = (network.end(place, cable), format!("{cable:?}").to_lowercase());
                ip(&["link", "add", &end, "type", "veth", "peer", "name", &device, "netns", &namespace]);
                ip(&["link", "set", &end, "master", &network.bridge(cable), "up"]);
                let address = network.address_of(place, cable);
                ip(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", &device]);
                ip(&["-n", &namespace, "link", "set", &device, "up"]);
            }
        }
        network
    }

    /// A place for a node.
    pub fn place(&self, place: usize) -> Place {
        Place {
            namespace: self.namespace(place),
            listen: format!("{}:{PORT}", self.address_of(place, Cable::Clients)),
            advertise: format!("{}:{PEER_PORT}", self.address_of(place, Cable::Peers)),
        }
    }

    /// The address that the test has on a network.
    pub fn address(&self, cable: Cable) -> String {
        self.number(cable, 1)
    }

    /// Pull a node's cable. What is under way there is lost, and nobody is told.
    pub fn pull(&self, place: usize, cable: Cable) {
        ip(&["link", "set", &self.end(place, cable), "down"]);
    }

    /// Plug it in again.
    pub fn plug(&self, place: usize, cable: Cable) {
        ip(&["link", "set", &self.end(place, cable), "up"]);
    }

    fn address_of(&self, place: usize, cable: Cable) -> String {
        self.number(cable, 10 + place)
    }

    fn number(&self, cable: Cable, host: usize) -> String {
        let net = 3 * (self.own % 5_000) + cable as u32;
        format!("10.{}.{}.{host}", 100 + net / 256, net % 256)
    }

    fn namespace(&self, place: usize) -> String {
        format!("test{}n{place}", self.own)
    }

    fn bridge(&self, cable: Cable) -> String {
        format!("test{}b{}", self.own, cable as u8)
    }

    /// The end of a cable that is at the bridge.
    fn end(&self, place: usize, cable: Cable) -> String {
        format!("test{}n{place}c{}", self.own, cable as u8)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cables go with their namespaces.
        let namespaces =
            (0..self.places).map(|place| vec!["netns".to_owned(), "delete".to_owned(), self.namespace(place)]);
        let bridges = Cable::ALL.map(|cable| vec!["link".to_owned(), "delete".to_owned(), self.bridge(cable)]);
        for command in namespaces.chain(bridges) {
            let _ = Command::new("ip").args(command).status();
        }
    }
}

impl Cable {
    const ALL: [Cable; 3] = [Cable::Clients, Cable::Peers, Cable::Database];
}

impl Place {
    /// Have a process begin there.
    pub(crate) fn enter(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        let path = format!("/run/netns/{}", self.namespace);
        let namespace = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // SAFETY: it may be called between fork and exec, and the file is open until then.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    const NEEDED: &str = "a network of its own takes the rights of root, and ip: apt-get install iproute2";
    let output = Command::new("ip").args(arguments).output().unwrap_or_else(|error| panic!("{NEEDED} ({error})"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{NEEDED} (ip {}: {said})", arguments.join(" "));
}
