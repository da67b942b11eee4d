//! Finds the offsets of the kernel's structures that the programs read.
//!
//! [`FIELDS`] has the source and the purpose of each field. Members are looked up with the size that
//! the programs read them with. A member of another size counts as absent: "unknown" is correct,
//! half a value is not.

use std::fmt;

use inotify_trace_btf::Btf;
use inotify_trace_common::layout::{ABSENT, Layout};

mod fields;

pub use fields::{FIELDS, Field, Need, Source};

/// The kernel lacks required members.
#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel's BTF lacks, or has in another size, {}. Without that, instances and the limits \
     they count against cannot be read. Linux 5.10 to 7.2 on 64-bit machines are known to work: \
     use one, or report this message and the output of uname -r", missing.join(", ")
)]
pub struct LayoutError {
    /// Each as `struct.member` or `enum.VARIANT`, or several of them joined by "or".
    pub missing: Vec<String>,
}

/// A feature that this kernel does not support. Displays as "FEATURE (needs NEEDS)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFeature {
    /// The feature, beginning in lower case.
    pub feature: &'static str,
    /// The requirement that the kernel lacks.
    pub needs: &'static str,
}

impl fmt::Display for LostFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (needs {})", self.feature, self.needs)
    }
}

/// Takes all offsets, sizes and values from `btf`. Optional members that are missing are [`ABSENT`]:
/// see [`lost_features`].
///
/// # Errors
/// If required members are missing; the error names all of them.
pub fn resolve(btf: &Btf) -> Result<Layout, LayoutError> {
    let mut missing = Vec::new();
    let layout = fields::fill(|field| {
        field.source.find(btf).unwrap_or_else(|| {
            // Two fields may come from one member.
            if field.need == Need::Always && !missing.contains(&field.source.shown()) {
                missing.push(field.source.shown());
            }
            ABSENT
        })
    });
    if missing.is_empty() { Ok(layout) } else { Err(LayoutError { missing }) }
}

/// The features that the absent fields of `layout` cost; empty if there are none.
pub fn lost_features(layout: &Layout) -> Vec<LostFeature> {
    let is_lost = |feature: &LostFeature| {
        FIELDS
            .iter()
            .filter(|field| matches!(field.need, Need::For(features) if features.contains(feature)))
            .any(|field| (field.value)(layout) == ABSENT)
    };
    fields::FEATURES.into_iter().filter(is_lost).collect()
}

impl Source {
    /// The field's value on a kernel; `None` if it is absent there.
    fn find(&self, btf: &Btf) -> Option<u32> {
        match *self {
            Self::Member(path, size) => member(btf, path, size),
            Self::Renamed(paths, size) => paths.iter().find_map(|path| member(btf, path, size)),
            Self::Counters(path) => Some(counters(btf, path)?.0),
            Self::CounterSize(path) => Some(counters(btf, path)?.1),
            Self::Variant(path) => {
                let (name, variant) = path.split_once('.')?;
                btf.enum_value(name, variant)?.try_into().ok()
            }
            Self::Computed(_, compute) => compute(btf),
        }
    }

    /// The members or the variant it comes from, each as `struct.member` or `enum.VARIANT`.
    pub fn paths(&self) -> &[&'static str] {
        match self {
            Self::Member(path, _)
            | Self::Counters(path)
            | Self::CounterSize(path)
            | Self::Variant(path) => std::slice::from_ref(path),
            Self::Renamed(paths, _) | Self::Computed(paths, _) => paths,
        }
    }

    fn shown(&self) -> String {
        self.paths().join(" or ")
    }
}

/// Offset of the member at `structure.path`, if it takes `size` bytes.
fn member(btf: &Btf, path: &str, size: u32) -> Option<u32> {
    let (structure, path) = path.split_once('.')?;
    btf.member(structure, path).filter(|member| member.size == size).map(|member| member.offset)
}

/// Offset of an array and bytes of one of its counters.
fn counters(btf: &Btf, path: &str) -> Option<(u32, u32)> {
    let (structure, path) = path.split_once('.')?;
    let member = btf.member(structure, path)?;
    let size = btf.element_size(member.type_id)?;
    matches!(size, 4 | 8).then_some((member.offset, size))
}

#[cfg(test)]
mod tests;
