//! The programs, by the place of the kernel they attach to. All of them return 0: a tracepoint
//! program's answer says whether perf should record the event too.

mod ask;
mod cgroup;
mod function_entry;
mod function_probe;
mod iterator;
mod process;
mod registers;
mod syscall_close;
mod syscall_inotify;
