//! The attribute macros of `guest-sdk`. They are documented where they are re-exported.

mod data;
mod function;

use proc_macro::TokenStream;

/// See `guest_sdk::function`.
#[proc_macro_attribute]
pub fn function(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// See `guest_sdk::data`.
#[proc_macro_attribute]
pub fn data(options: TokenStream, item: TokenStream) -> TokenStream {
    data::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
