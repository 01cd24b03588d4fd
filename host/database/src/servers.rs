//! The servers that a URL names: the database is on one of them, and on another one after a failover.

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::DatabaseError;

/// A configuration for each. Of several, it is that which takes what is written.
pub(super) fn of(all: &Config) -> Result<Vec<Config>, DatabaseError> {
    let [hosts, addresses, ports] = [all.get_hosts().len(), all.get_hostaddrs().len(), all.get_ports().len()];
    let count = hosts.max(addresses);
    if count < 2 {
        return Ok(vec![all.clone()]);
    }
    if hosts != count || ![0, count].contains(&addresses) || ![0, 1, count].contains(&ports) {
        let what = format!("it has {hosts} hosts, {addresses} addresses and {ports} ports");
        return Err(DatabaseError::Url(what));
    }
    Ok((0..count).map(|n| one(all, n)).collect())
}

/// The library can't be told which of the servers in a configuration to begin with, nor how long one of them may take.
fn one(all: &Config, n: usize) -> Config {
    let mut one = Config::new();
    if let Some(host) = all.get_hosts().get(n) {
        match host {
            tokio_postgres::config::Host::Tcp(name) => one.host(name),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => one.host_path(path),
        };
    }
    if let Some(address) = all.get_hostaddrs().get(n) {
        one.hostaddr(*address);
    }
    // One port is that of all.
    if let Some(port) = all.get_ports().get(n).or(all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(all.get_keepalives());
    one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
    one.channel_binding(all.get_channel_binding()).target_session_attrs(TargetSessionAttrs::ReadWrite);
    one
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{Host, SslMode};

    use super::*;

    #[test]
    fn each_server_is_as_the_url_says() {
        let all: Config = "postgres://me:secret@a:1,b:2/base?sslmode=require".parse().unwrap();
        let servers = of(&all).unwrap();
        for (server, (name, port)) in servers.iter().zip([("a", 1), ("b", 2)]) {
            assert_eq!(server.get_hosts(), [Host::Tcp(name.into())]);
            assert_eq!(server.get_ports(), [port]);
            assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            let who = (server.get_user(), server.get_password(), server.get_dbname(), server.get_ssl_mode());
            assert_eq!(who, (Some("me"), Some(&b"secret"[..]), Some("base"), SslMode::Require));
        }
        assert_eq!(servers.len(), 2);
        let alone: Config = "postgres://me@a/base".parse().unwrap();
        assert_eq!(of(&alone).unwrap(), [alone]);
        let odd: Config = "postgres://me@a:1,b:2,c/base".parse().unwrap();
        assert_eq!(of(&odd).unwrap().len(), 3, "a port that isn't said is the usual one");
        let odd: Config = "host=a,b,c port=1,2".parse().unwrap();
        assert!(of(&odd).is_err());
    }
}
