//! Creation, removal and renaming of cgroups of the v2 hierarchy: paths of ids without a race, and
//! the end of containers. Every backend uses these.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use inotify_trace_common::Kind;

use crate::{
    cgroup,
    emit::{Path, emit_with_path},
};

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    tell(&ctx, Kind::CgroupCreated)
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    tell(&ctx, Kind::CgroupRemoved)
}

/// `cgroup_rename(struct cgroup *cgrp, const char *path)`.
#[raw_tracepoint(tracepoint = "cgroup_rename")]
pub fn cgroup_rename(ctx: RawTracePointContext) -> i32 {
    tell(&ctx, Kind::CgroupRenamed)
}

#[inline(always)]
fn tell(ctx: &RawTracePointContext, kind: Kind) -> i32 {
    let (group, path) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    let id = cgroup::id(group);
    if id != 0 {
        emit_with_path(kind, Path::Kernel(path), |record| record.target_cgroup = id);
    }
    0
}
