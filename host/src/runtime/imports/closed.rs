//! What is closed to guests: files and sockets. Whoever tries gets the error that WASI has for it, which says little; so a
//! line of the execution's log says more, once.

use machine::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::filesystem::types::Descriptor;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;

use crate::runtime::guest::Guest;

const FILES: &str = "files are closed to functions: what a function keeps or reads has to be an argument, a result, a \
                     variable of its configuration, or come over HTTP";
const SOCKETS: &str = "sockets are closed to functions: send requests over HTTP, with guest_sdk::http or any client for \
                       wasi:http";

type Store<'a> = StoreContextMut<'a, Guest>;
type Refused<T> = Result<Resource<T>, ErrorCode>;

/// Puts ours in the place of WASI's.
pub(super) fn replace(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("wasi:filesystem/preopens@0.2.12")?.func_wrap("get-directories", |store: Store<'_>, (): ()| {
        note(&store, FILES);
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })?;
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |store: Store<'_>, (_,): (IpAddressFamily,)| {
            note(&store, SOCKETS);
            Ok((Refused::<TcpSocket>::Err(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap(
        "create-udp-socket",
        |store: Store<'_>, (_,): (IpAddressFamily,)| {
            note(&store, SOCKETS);
            Ok((Refused::<UdpSocket>::Err(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?.func_wrap(
        "resolve-addresses",
        |store: Store<'_>, (_, _): (Resource<Network>, String)| {
            note(&store, SOCKETS);
            Ok((Refused::<ResolveAddressStream>::Err(ErrorCode::AccessDenied),))
        },
    )
}

fn note(store: &Store<'_>, text: &'static str) {
    let mut ends = store.data().wire.lock();
    if !ends.noted.contains(&text) {
        ends.noted.push(text);
        let now_ms = ends.now_ms();
        ends.console.log(Level::Warn, text, now_ms);
    }
}
