// SPDX-License-Identifier: GPL-2.0
//! Translates the kernel's `linux/vfio.h` with bindgen, and lists what is in
//! it, so that the test can tell what `vfio-uapi` lacks.
//!
//! The header comes from the kernel source in `KSRC`, or from the source that
//! the project's set-up step unpacked into its cache.

use std::{env, error::Error, fmt::Write, fs, path::PathBuf};

/// The file that says which kernel series this project is for.
const SERIES: &str = include_str!("../../../tools/series.sh");

/// Returns the kernel series, such as `7.3`.
fn series() -> &'static str {
    SERIES
        .lines()
        .find_map(|line| line.strip_prefix("series="))
        .expect("tools/series.sh names the series")
}

/// Where the set-up step keeps the source of the kernel.
fn kernel_source() -> PathBuf {
    for name in [
        "KSRC",
        "RUST_VFIO_CACHE",
        "XDG_CACHE_HOME",
        "HOME",
        "LIBCLANG_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if let Some(dir) = env::var_os("KSRC") {
        return dir.into();
    }
    let cache = env::var_os("RUST_VFIO_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
                .unwrap_or_default()
                .join("rust_vfio")
        });
    cache.join(format!("src/linux-source-{}", series()))
}

/// Lists the structures with their fields, and the constants, as Rust tables.
fn inventory(bindings: &str) -> Result<String, Box<dyn Error>> {
    let mut structs = String::new();
    let mut consts = String::new();
    for item in syn::parse_file(bindings)?.items {
        match item {
            syn::Item::Struct(item) if item.ident.to_string().starts_with("vfio_") => {
                let fields: Vec<_> = item
                    .fields
                    .iter()
                    .filter_map(|field| field.ident.as_ref())
                    .map(|name| name.to_string().trim_start_matches("r#").to_owned())
                    .collect();
                writeln!(structs, "    (\"{}\", &{fields:?}),", item.ident)?;
            }
            syn::Item::Const(item) => {
                let name = item.ident.to_string();
                // The values of an anonymous enum carry its invented name.
                let name = match name.find("VFIO_") {
                    Some(0 | 2) => name, // At 2 behind two underscores.
                    Some(at) if name.starts_with("_bindgen_ty_") => name[at..].to_owned(),
                    Some(at) if name.starts_with("vfio_") => name[at..].to_owned(),
                    _ => continue,
                };
                // Strings, such as the names of device types, are no numbers.
                if matches!(*item.ty, syn::Type::Reference(_)) {
                    continue;
                }
                let rust = &item.ident;
                writeln!(consts, "    (\"{name}\", header::{rust} as i128),")?;
            }
            _ => {}
        }
    }
    Ok(format!(
        "/// Each structure of the header, and its fields.\n\
         pub const STRUCTS: &[(&str, &[&str])] = &[\n{structs}];\n\
         /// Each number of the header.\n\
         pub const CONSTS: &[(&str, i128)] = &[\n{consts}];\n"
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let include = kernel_source().join("include");
    let header = include.join("uapi/linux/vfio.h");
    println!("cargo:rerun-if-changed={}", header.display());
    if !header.exists() {
        return Err(format!(
            "{} is not there: set KSRC to the source of a {} kernel, or run the set-up step",
            header.display(),
            series()
        )
        .into());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // The header of the source package is the one before `headers_install`:
    // it carries markers that are nothing to user space.
    let text = fs::read_to_string(&header)?
        .replace("__user", "")
        .replace("__counted_by(nr_ranges)", "");
    let copy = out.join("vfio.h");
    fs::write(&copy, text)?;
    let bindings = bindgen::Builder::default()
        // The header's prose is not ours, and not Markdown.
        .generate_comments(false)
        .header(copy.display().to_string())
        .clang_arg("--target=x86_64-linux-gnu")
        // `_IO()` is a macro of macros, which only the compiler can evaluate.
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(&out)
        .allowlist_item("_*(vfio|VFIO).*")
        .wrap_unsafe_ops(true)
        .derive_default(true)
        .layout_tests(false)
        .generate()?
        .to_string();
    fs::write(out.join("inventory.rs"), inventory(&bindings)?)?;
    fs::write(out.join("header.rs"), bindings)?;
    Ok(())
}
