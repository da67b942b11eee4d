//! The snapshot on kernels with BPF iterators: one program run for every descriptor of every
//! process. Its answers take the ring buffer, in order with what the hooks see.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};

use crate::{
    inotify::{Found, found},
    instance::Instance,
    maps::is_half_full,
    read::{offset, value},
    task::Table,
};

/// `struct bpf_iter__task_file` (`kernel/bpf/task_iter.c`): each field takes eight bytes.
#[repr(C)]
struct TaskFile {
    meta: *const Meta,
    task: u64,
    fd: u32,
    pad: u32,
    file: u64,
}

/// The beginning of `struct bpf_iter_meta` (`include/linux/bpf.h`).
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// Makes the kernel stop, and begin with the same descriptor at the next read.
const AGAIN: i32 = 1;

/// Runs for each descriptor; answers with `InstanceFound` if it is an instance's, and then outputs a
/// byte: a read of one byte ends there. The kernel holds a reference to the file of the descriptor. If
/// its owner closes it in that moment, the instance ends with the read, which must be soon.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn iter_descriptors(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<TaskFile>();
    // SAFETY: the kernel passes this structure to programs of this type; the verifier checks it.
    let (meta, task, fd, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).fd, (*ctx).file) };
    // Both are null once, at the end.
    if task == 0 || file == 0 {
        return 0;
    }
    if let Some(instance) = Instance::of_file(file) {
        if is_half_full() {
            return AGAIN;
        }
        let (pid, tid) = (value(task, offset!(task_tgid)), value(task, offset!(task_pid)));
        found(instance, Found { pid, tid, table: Table::of(task), fd: fd as i32, own: 0 });
        // SAFETY: the kernel passes `meta` to every run; the verifier checks that, and the helper the
        // rest. It fails without memory, and then the read goes on.
        let _ = unsafe { bpf_seq_write((*meta).seq, [1u8].as_ptr().cast(), 1) };
    }
    0
}
