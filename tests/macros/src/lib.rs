//! The attribute of live tests.

use proc_macro::{Literal, Span, TokenStream, TokenTree};

/// Marks a live test, which runs as root, and states what its result depends on:
///
/// - `#[live_test]`: the agent alone. It runs on the developer's kernel.
/// - `#[live_test(each = kernel)]`: the kernel's structures and hooks. It runs on each kernel too.
/// - `#[live_test(each = backend)]`: how the agent hooks inotify. It runs on each kernel with each
///   backend too.
///
/// `emulated = "REASON"` keeps a test off virtual machines, whose processor is emulated.
///
/// The test's name is `NAME::here`, `NAME::each_kernel` or `NAME::each_backend`, so that the test
/// harness's own filters can select it.
#[proc_macro_attribute]
pub fn live_test(options: TokenStream, function: TokenStream) -> TokenStream {
    let name = name_of(&function);
    let parsed = Options::parse(options).and_then(|it| Ok((it, name.ok_or("not a function")?)));
    match parsed {
        Ok((options, name)) => {
            let test: TokenStream = options.test(&name).parse().expect("valid code");
            function.into_iter().chain(test).collect()
        }
        Err(problem) => error(problem),
    }
}

struct Options {
    /// The name of the test function in its module.
    selector: &'static str,
    /// Why emulation is too slow.
    emulated: Option<Literal>,
}

impl Options {
    fn parse(options: TokenStream) -> Result<Self, &'static str> {
        let mut parsed = Self { selector: "here", emulated: None };
        let options: Vec<_> = options.into_iter().collect();
        for option in options.split(|it| matches!(it, TokenTree::Punct(it) if *it == ',')) {
            match option {
                [] => {}
                [TokenTree::Ident(key), TokenTree::Punct(_), TokenTree::Ident(value)]
                    if key.to_string() == "each" =>
                {
                    parsed.selector = match value.to_string().as_str() {
                        "kernel" => "each_kernel",
                        "backend" => "each_backend",
                        _ => return Err("each = kernel, or each = backend"),
                    };
                }
                [TokenTree::Ident(key), TokenTree::Punct(_), TokenTree::Literal(reason)]
                    if key.to_string() == "emulated" =>
                {
                    parsed.emulated = Some(reason.clone());
                }
                _ => return Err("the options are `each = ...` and `emulated = \"REASON\"`"),
            }
        }
        Ok(parsed)
    }

    fn test(&self, name: &str) -> String {
        let selector = self.selector;
        let emulated = match &self.emulated {
            Some(reason) => format!("::core::option::Option::Some({reason})"),
            None => "::core::option::Option::None".to_owned(),
        };
        format!(
            "mod {name} {{ #[test] fn {selector}() {{ \
             ::inotify_trace_tests::live::run({emulated}, super::{name}) }} }}"
        )
    }
}

fn name_of(function: &TokenStream) -> Option<String> {
    let mut tokens = function.clone().into_iter();
    tokens.find(|it| matches!(it, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    Some(tokens.next()?.to_string())
}

fn error(problem: &str) -> TokenStream {
    let error: TokenStream = format!("::core::compile_error!({problem:?});").parse().expect("code");
    // Places the error at the attribute.
    let at_attribute = |mut token: TokenTree| {
        token.set_span(Span::call_site());
        token
    };
    error.into_iter().map(at_attribute).collect()
}
