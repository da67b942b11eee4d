//! Reads kernel memory by the offsets that the agent took from BTF.

use core::{
    ffi::{c_long, c_void},
    hint::black_box,
    mem::MaybeUninit,
};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use inotify_trace_common::{ABSENT, Layout};

/// Filled in by the agent before loading; the verifier then sees constants, and drops the code
/// for fields that the running kernel lacks.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNKNOWN;

/// The offset of a field on the running kernel.
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

/// The `T` at `offset` of the kernel structure at `base`. None if the kernel has no such field, or
/// the address cannot be read, as that of an absent structure.
#[inline(always)]
pub(crate) fn field<T>(base: u64, offset: u32) -> Option<T> {
    if offset == ABSENT {
        return None;
    }
    let (value, result) = read(base, offset);
    (result == 0).then_some(value)
}

/// As [`field`], and zero where that is None. Without a branch: the verifier follows every path, so
/// where one read leads to the next, each branch less halves its work.
#[inline(always)]
pub(crate) fn value<T: Default>(base: u64, offset: u32) -> T {
    if offset == ABSENT { T::default() } else { read(base, offset).0 }
}

/// As [`field`], for a pointer; None where it is null.
#[inline(always)]
pub(crate) fn pointer(base: u64, offset: u32) -> Option<u64> {
    Some(value(base, offset)).filter(|&address| address != 0)
}

/// What the helper read, all zeros if it could not, and its result: 0, or a negative errno. The
/// offset must be there.
#[inline(always)]
pub(crate) fn read<T>(base: u64, offset: u32) -> (T, c_long) {
    let mut value = MaybeUninit::<T>::uninit();
    let from = (base + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the address it reads from, and writes all of `value` in any case:
    // zeros where it fails. Every `T` used here is an integer or an array of bytes, for which any
    // bytes are a value.
    unsafe {
        let result = bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        (value.assume_init(), result)
    }
}

/// Zero, as no program changes it; but the verifier takes it for any number.
#[unsafe(no_mangle)]
static mut NOTHING: u64 = 0;

/// The same number, of which the verifier knows nothing. Where ways through a program meet, it walks
/// on once for each that it knows something different of; older ones (Linux 5.10 and 6.1) also where
/// that makes no difference. So what is known by the way alone is blurred where they meet.
#[inline(always)]
pub(crate) fn blur(number: u32) -> u32 {
    blur_address(number.into()) as u32
}

/// As [`blur`], for an address.
#[inline(always)]
pub(crate) fn blur_address(address: u64) -> u64 {
    // SAFETY: nothing writes it.
    let nothing = unsafe { (&raw const NOTHING).read_volatile() };
    // Here and now, and not where it is used.
    black_box(address ^ nothing)
}

/// 1 if this is not 0, else 0. Without a branch, which is one more way to walk for the verifier.
#[inline(always)]
pub(crate) fn one_if_any(number: u64) -> u32 {
    // The compiler knows this for what it is, and makes a branch of it, unless half is hidden.
    let negative = black_box(number.wrapping_neg());
    ((number | negative) >> 63) as u32
}
