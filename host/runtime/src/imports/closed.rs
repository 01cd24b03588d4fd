//! What is closed to guests: files and sockets, in both versions of WASI. Whoever tries gets the error that WASI has for it,
//! which says little; so a line of the execution's log says more, once.

use machine::Level;
use wasmtime::component::{Linker, Resource};
use wasmtime::{AsContext, StoreContextMut};
use wasmtime_wasi::p2::bindings::filesystem::types::Descriptor;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;
use wasmtime_wasi::p3;
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup, types};

use crate::guest::Guest;

const FILES: &str = "files are closed to functions: what a function keeps or reads has to be an argument, a result, a \
                     variable of its configuration, or come over HTTP";
const SOCKETS: &str = "sockets are closed to functions: send requests over HTTP, with guest_sdk::http or any client for \
                       wasi:http";

type Store<'a> = StoreContextMut<'a, Guest>;
type Refused<T> = Result<Resource<T>, ErrorCode>;

/// Puts ours in the place of WASI's.
pub(super) fn replace(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    replace_new(linker)?;
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

/// Those of version 0.3.
fn replace_new(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Directory = (Resource<p3::bindings::filesystem::types::Descriptor>, String);
    linker.instance("wasi:filesystem/preopens@0.3.0")?.func_wrap("get-directories", |store: Store<'_>, (): ()| {
        note(&store, FILES);
        Ok((Vec::<Directory>::new(),))
    })?;
    let mut sockets = linker.instance("wasi:sockets/types@0.3.0")?;
    sockets.func_wrap("[static]tcp-socket.create", |store: Store<'_>, (_,): (types::IpAddressFamily,)| {
        note(&store, SOCKETS);
        Ok((Err::<Resource<types::TcpSocket>, _>(types::ErrorCode::AccessDenied),))
    })?;
    sockets.func_wrap("[static]udp-socket.create", |store: Store<'_>, (_,): (types::IpAddressFamily,)| {
        note(&store, SOCKETS);
        Ok((Err::<Resource<types::UdpSocket>, _>(types::ErrorCode::AccessDenied),))
    })?;
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |guest, (_,): (String,)| {
            guest.with(|access| note(&access, SOCKETS));
            Box::pin(async { Ok((Err::<Vec<types::IpAddress>, _>(ip_name_lookup::ErrorCode::AccessDenied),)) })
        },
    )
}

fn note(store: &impl AsContext<Data = Guest>, text: &'static str) {
    let store = store.as_context();
    let mut ends = store.data().wire.lock();
    if !ends.noted.contains(&text) {
        ends.noted.push(text);
        let now_ms = ends.now_ms();
        ends.console.log(Level::Warn, text, now_ms);
    }
}
