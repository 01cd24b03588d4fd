//! `#[data]`: the derives of a type that travels between functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Meta, Path, Token, punctuated::Punctuated};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !options.is_empty() {
        return Err(Error::new_spanned(options, "`#[data]` takes no options"));
    }
    let item: DeriveInput = syn::parse2(item)?;
    let present = derived(&item)?;
    let wanted = |name: &str, path: TokenStream| (!present.iter().any(|p| p == name)).then_some(path);
    let derives: Vec<_> = [
        wanted("Debug", quote!(::core::fmt::Debug)),
        wanted("Clone", quote!(::core::clone::Clone)),
        wanted("PartialEq", quote!(::core::cmp::PartialEq)),
        wanted("Serialize", quote!(::guest_sdk::serde::Serialize)),
        wanted("Deserialize", quote!(::guest_sdk::serde::Deserialize)),
        wanted("JsonSchema", quote!(::guest_sdk::schemars::JsonSchema)),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(quote! {
        #[derive(#(#derives),*)]
        #[serde(crate = "::guest_sdk::serde")]
        #[schemars(crate = "::guest_sdk::schemars")]
        #item
    })
}

/// The last names of the traits in the type's own `#[derive(...)]` attributes: deriving one twice is an error.
fn derived(item: &DeriveInput) -> syn::Result<Vec<String>> {
    let mut names = Vec::new();
    for attribute in item.attrs.iter().filter(|a| a.path().is_ident("derive")) {
        if let Meta::List(list) = &attribute.meta {
            let paths = list.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)?;
            names.extend(paths.iter().filter_map(|path| Some(path.segments.last()?.ident.to_string())));
        }
    }
    Ok(names)
}
