//! `#[function]`: from an `async fn` to the call of it, its body, and its entry in the component's list.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Block, Error, Expr, ExprLit, FnArg, Ident, Lit, LitStr, Meta, Pat, ReturnType, Signature, Token, Type,
    Visibility, ext::IdentExt, parse::Parse, parse::ParseStream, spanned::Spanned, visit::Visit,
};

/// Tuples of arguments are a trait that is implemented up to this length.
const MOST_PARAMETERS: usize = 12;

/// An `async fn` with a body, or a declaration: a signature with a semicolon.
struct Input {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    body: Option<Block>,
}

impl Parse for Input {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature =
            input.parse().map_err(|e| Error::new(e.span(), format!("`#[function]` marks a function: {e}")))?;
        let body = if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            None
        } else {
            Some(input.parse()?)
        };
        Ok(Input { attributes, visibility, signature, body })
    }
}

/// One parameter. The call names it by `name`, the body binds it by the pattern that was written.
struct Parameter {
    name: Ident,
    pattern: Pat,
    ty: Type,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let input: Input = syn::parse2(item)?;
    let parameters = check(&input.signature)?;
    let name = match renamed(options)? {
        Some(name) => name,
        None => LitStr::new(&input.signature.ident.unraw().to_string(), input.signature.ident.span()),
    };

    let call = expand_call(&input, &name, &parameters);
    let registration = input.body.as_ref().map(|body| expand_registration(&input, &name, &parameters, body));
    Ok(quote!(#call #registration))
}

/// The function that users call: it makes the future of a durable call.
fn expand_call(input: &Input, name: &LitStr, parameters: &[Parameter]) -> TokenStream {
    let Input { attributes, visibility, signature, .. } = input;
    let shared = attributes.iter().filter(|a| {
        ["doc", "cfg", "cfg_attr", "allow", "expect", "warn", "deny", "deprecated"].iter().any(|n| a.path().is_ident(n))
    });
    let ident = &signature.ident;
    let names: Vec<_> = parameters.iter().map(|p| &p.name).collect();
    let types: Vec<_> = parameters.iter().map(|p| &p.ty).collect();
    let Output { value, error, .. } = output(&signature.output);
    quote! {
        #(#shared)*
        #[allow(clippy::too_many_arguments, dead_code)]
        #visibility fn #ident(#(#names: #types),*) -> ::guest_sdk::Call<#value, #error> {
            ::guest_sdk::__private::call(#name, (#(#names,)*), |outcome| {
                #[allow(unused_imports)]
                use ::guest_sdk::__private::{DecodeSerde as _, DecodeBoxed as _, DecodeText as _};
                ::guest_sdk::__private::decode(outcome, |text| (&&&::guest_sdk::__private::Probe::<#error>::NEW).decode_error(text))
            })
        }
    }
}

/// The body, and the entry by which the host finds it.
fn expand_registration(input: &Input, name: &LitStr, parameters: &[Parameter], body: &Block) -> TokenStream {
    let Input { attributes, signature, .. } = input;
    let ident = format_ident!("__{}_body", signature.ident.unraw(), span = signature.ident.span());
    let names: Vec<_> = parameters.iter().map(|p| &p.name).collect();
    let patterns: Vec<_> = parameters.iter().map(|p| &p.pattern).collect();
    let types: Vec<_> = parameters.iter().map(|p| &p.ty).collect();
    let labels: Vec<_> = parameters.iter().map(|p| p.name.unraw().to_string()).collect();
    let returns = &signature.output;
    let cfgs = attributes.iter().filter(|a| a.path().is_ident("cfg"));
    let kept = attributes.iter().filter(|a| !a.path().is_ident("doc") && !a.path().is_ident("cfg"));
    let doc = documentation(attributes);
    let Output { ty, value, error, fallible } = output(returns);
    // Names of our own that no parameter's name can shadow.
    let own = |name: &str| Ident::new(name, Span::mixed_site());
    let (own_arguments, own_output, own_value, own_error) =
        (own("arguments"), own("output"), own("value"), own("error"));
    let span = ty.span();
    let result = if fallible {
        quote_spanned!(span=> ::guest_sdk::__private::Returns::into_result(#own_output))
    } else {
        quote_spanned!(span=> ::core::result::Result::<#value, #error>::Ok(#own_output))
    };
    let encode = quote_spanned!(span=> ::guest_sdk::__private::encode_value::<#value>(&#own_value));
    // A parameter's type is used under its own span, so that a missing trait is reported where the type is written.
    let reads = parameters.iter().map(|p| {
        let (name, ty) = (&p.name, &p.ty);
        quote_spanned!(ty.span()=> let #name = #own_arguments.read::<#ty>()?;)
    });
    quote! {
        #(#cfgs)*
        const _: () = {
            #(#kept)*
            #[allow(clippy::too_many_arguments)]
            async fn #ident(#(#patterns: #types),*) #returns #body

            ::guest_sdk::__private::inventory::submit! {
                ::guest_sdk::__private::Function {
                    name: #name,
                    doc: #doc,
                    component: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    parameters: &[#((#labels, || {
                        #[allow(unused_imports)]
                        use ::guest_sdk::__private::{Schema as _, NoSchema as _};
                        (&::guest_sdk::__private::Probe::<#types>::NEW).schema()
                    })),*],
                    output: || {
                        #[allow(unused_imports)]
                        use ::guest_sdk::__private::{Schema as _, NoSchema as _};
                        (&::guest_sdk::__private::Probe::<#value>::NEW).schema()
                    },
                    start: |#own_arguments| {
                        #[allow(unused_mut)]
                        let mut #own_arguments =
                            ::guest_sdk::__private::Arguments::parse(#name, &[#(#labels),*], #own_arguments)?;
                        #(#reads)*
                        ::core::result::Result::Ok(::std::boxed::Box::pin(async move {
                            #[allow(unused_imports)]
                            use ::guest_sdk::__private::{
                                EncodeSerde as _, EncodeBoxed as _, EncodeText as _, EncodeNothing as _,
                            };
                            let #own_output = #ident(#(#names),*).await;
                            match #result {
                                ::core::result::Result::Ok(#own_value) => #encode,
                                ::core::result::Result::Err(#own_error) => ::core::result::Result::Err(
                                    (&&&&::guest_sdk::__private::Probe::<#error>::NEW).encode_error(&#own_error)
                                ),
                            }
                        }))
                    },
                }
            }
        };
    }
}

/// What a function returns, and what that means for its callers.
struct Output {
    ty: TokenStream,
    value: TokenStream,
    error: TokenStream,
    fallible: bool,
}

/// A type that is spelled `…Result<…>` or `…::Result` is taken apart by a trait, so aliases with one parameter work.
/// Everything else is a value.
fn output(returns: &ReturnType) -> Output {
    let ty = match returns {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    };
    let fallible = match returns {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path) => path.path.segments.last().is_some_and(|s| s.ident == "Result"),
            _ => false,
        },
        ReturnType::Default => false,
    };
    let (value, error) = if fallible {
        (
            quote!(<#ty as ::guest_sdk::__private::Returns>::Value),
            quote!(<#ty as ::guest_sdk::__private::Returns>::Error),
        )
    } else {
        (ty.clone(), quote!(::core::convert::Infallible))
    };
    Output { ty, value, error, fallible }
}

/// Refuse what can't be a durable function, with the reason, and take the parameters apart.
fn check(signature: &Signature) -> syn::Result<Vec<Parameter>> {
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(
            signature.fn_token,
            "a durable function is an `async fn`; a plain `fn` needs no attribute: it is an ordinary local call",
        ));
    }
    for (present, span, what) in [
        (signature.constness.is_some(), signature.constness.span(), "`const`"),
        (signature.unsafety.is_some(), signature.unsafety.span(), "`unsafe`"),
        (signature.abi.is_some(), signature.abi.span(), "`extern`"),
        (signature.variadic.is_some(), signature.variadic.span(), "variadic"),
    ] {
        if present {
            return Err(Error::new(span, format!("a durable function can't be {what}")));
        }
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(Error::new_spanned(
            signature.generics.params.to_token_stream(),
            "a durable function can't be generic: it is found by its name at run time, with its types fixed",
        ));
    }
    let mut parameters = Vec::new();
    for (index, argument) in signature.inputs.iter().enumerate() {
        let argument = match argument {
            FnArg::Typed(argument) => argument,
            FnArg::Receiver(receiver) => {
                return Err(Error::new_spanned(
                    receiver,
                    "a durable function has no `self`: it may run on another machine, so all that it needs is in its arguments",
                ));
            }
        };
        owned(&argument.ty, "an argument")?;
        let name = match &*argument.pat {
            Pat::Ident(pattern) => pattern.ident.clone(),
            _ => format_ident!("argument_{}", index + 1, span = Span::call_site()),
        };
        parameters.push(Parameter { name, pattern: (*argument.pat).clone(), ty: (*argument.ty).clone() });
    }
    if let Some(extra) = parameters.get(MOST_PARAMETERS) {
        return Err(Error::new_spanned(
            &extra.pattern,
            format!(
                "a durable function takes at most {MOST_PARAMETERS} arguments; put them into a struct with `#[data]`"
            ),
        ));
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        owned(ty, "a result")?;
    }
    Ok(parameters)
}

/// Arguments and results travel as JSON, so they own what they hold and their types are written out.
fn owned(ty: &Type, what: &'static str) -> syn::Result<()> {
    struct Find {
        what: &'static str,
        found: Option<Error>,
    }
    impl Find {
        fn refuse(&mut self, at: impl ToTokens, why: &str) {
            let message =
                format!("{} of a durable function travels as JSON, perhaps to another machine: {why}", self.what);
            self.found.get_or_insert(Error::new_spanned(at, message));
        }
    }
    impl<'a> Visit<'a> for Find {
        fn visit_type_reference(&mut self, ty: &'a syn::TypeReference) {
            let instead = match &*ty.elem {
                Type::Path(path) if path.path.is_ident("str") => "take a `String`".to_owned(),
                Type::Slice(slice) => format!("take a `Vec<{}>`", slice.elem.to_token_stream()),
                other => format!("take an owned `{}`", other.to_token_stream()),
            };
            self.refuse(ty, &format!("it can't be a reference; {instead}"));
        }
        fn visit_lifetime(&mut self, lifetime: &'a syn::Lifetime) {
            self.refuse(lifetime, "it can't borrow");
        }
        fn visit_type_impl_trait(&mut self, ty: &'a syn::TypeImplTrait) {
            self.refuse(ty, "its type must be written out; `impl Trait` can't be read back");
        }
        fn visit_type_infer(&mut self, ty: &'a syn::TypeInfer) {
            self.refuse(ty, "its type must be written out");
        }
    }
    let mut find = Find { what, found: None };
    find.visit_type(ty);
    find.found.map_or(Ok(()), Err)
}

/// `name = "…"`, the only option.
fn renamed(options: TokenStream) -> syn::Result<Option<LitStr>> {
    if options.is_empty() {
        return Ok(None);
    }
    let meta: Meta = syn::parse2(options)?;
    match &meta {
        Meta::NameValue(option) if option.path.is_ident("name") => match &option.value {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) if !name.value().is_empty() => Ok(Some(name.clone())),
            other => Err(Error::new_spanned(other, "the name is a string literal, and not empty")),
        },
        other => Err(Error::new_spanned(other, "the only option of `#[function]` is `name = \"…\"`")),
    }
}

/// The doc comment as text, without the space that follows each `///`.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').map(str::to_owned).unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}
