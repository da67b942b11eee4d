//! The kernel's functions that programs are attached to.

use std::sync::OnceLock;

use aya_obj::btf::{self, BtfType, Func, FuncLinkage};
use inotify_trace_btf::Btf;

/// Functions of the running kernel, and their ids among its types.
pub(super) struct Functions {
    found: Vec<(u32, &'static str)>,
    table: OnceLock<btf::Btf>,
}

impl Functions {
    /// Looks for the functions of these names. Those that the kernel lacks are left out.
    pub(super) fn find(kernel: &Btf, names: &[&'static str]) -> Self {
        Self { found: kernel.functions(names), table: OnceLock::new() }
    }

    /// The functions as aya wants to have them.
    ///
    /// It takes a function's id from the place of its name in a table of all types. Reading the
    /// kernel's takes aya longer than all else at start, so it gets a table in which only the
    /// functions that were looked for have a name.
    pub(super) fn table(&self) -> &btf::Btf {
        self.table.get_or_init(|| {
            let mut table = btf::Btf::new();
            let mut next = 1;
            for &(id, name) in &self.found {
                for _ in next..id {
                    table.add_type(BtfType::Unknown);
                }
                let name = table.add_string(name);
                let function = Func::new(name, 0, FuncLinkage::Static);
                next = table.add_type(BtfType::Func(function)) + 1;
            }
            table
        })
    }

    /// Frees the table's memory. It is made again if it is needed again.
    pub(super) fn free_table(&mut self) {
        self.table = OnceLock::new();
    }
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    #[test]
    fn aya_finds_each_function_at_its_place() {
        let found = vec![(3, "open"), (4, "close"), (70_000, "bpf_iter_task_file")];
        let functions = Functions { found, table: OnceLock::new() };
        let id = |name| functions.table().id_by_type_name_kind(name, BtfKind::Func).ok();
        assert_eq!(id("open"), Some(3));
        assert_eq!(id("close"), Some(4));
        assert_eq!(id("bpf_iter_task_file"), Some(70_000));
        assert_eq!(id("dup"), None);
    }

    #[test]
    fn the_running_kernels_functions_are_where_aya_reads_them() {
        let Ok(kernel) = Btf::from_running_kernel() else {
            return eprintln!("not run: this kernel does not describe its types");
        };
        let names = ["inotify_release", "anon_inode_getfd", "bpf_iter_task_file", "no_such_thing"];
        let functions = Functions::find(&kernel, &names);
        let all = btf::Btf::from_sys_fs().unwrap();
        for name in names {
            let id = |btf: &btf::Btf| btf.id_by_type_name_kind(name, BtfKind::Func).ok();
            assert_eq!(id(functions.table()), id(&all), "{name}");
        }
    }
}
