//! Reading kernel memory by the offsets that the agent took from BTF.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use inotify_trace_common::{ABSENT, Layout};

/// Filled in by the agent before loading; the verifier then sees constants, and drops the code
/// for fields that the running kernel lacks.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNKNOWN;

/// Where one field is, on the running kernel.
macro_rules! offset {
    ($field:ident) => {
        $crate::read::volatile(core::ptr::addr_of!($crate::read::layout().$field))
    };
}
pub(crate) use offset;

/// The layout as the object holds it. Read its fields with `offset!` only.
pub(crate) fn layout() -> &'static Layout {
    &LAYOUT
}

/// A value that the loader may have changed after this crate was compiled.
#[inline(always)]
pub(crate) fn volatile(field: *const u32) -> u32 {
    // SAFETY: the pointer comes from `offset!`, so it is a field of a static.
    unsafe { field.read_volatile() }
}

/// The `T` at `offset` of the kernel structure at `base`. None if the structure is absent, the
/// kernel has no such field, or the address cannot be read.
#[inline(always)]
pub(crate) fn field<T>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == ABSENT {
        return None;
    }
    // SAFETY: the helper checks the address and fails on a bad one; every `T` used here is an
    // integer, for which any bytes are a value.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// As [`field`], for a pointer; None where it is null.
#[inline(always)]
pub(crate) fn pointer(base: u64, offset: u32) -> Option<u64> {
    field::<u64>(base, offset).filter(|&address| address != 0)
}
