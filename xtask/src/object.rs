//! Finishing touches to the kernel programs' object.

use anyhow::{Context, Result};
use object::{Object as _, ObjectSection as _};

use inotify_trace_btf::{Btf, kind};

/// Makes every type's name in the object's BTF one that the kernel accepts.
///
/// bpf-linker 0.10 does that for structures and functions and forgets unions, such as the
/// `MaybeUninit<u8>` in aya-log's globals. The kernel then refuses the whole BTF, and with it every
/// program that names a kernel function to be attached to.
pub fn make_names_valid(mut object: Vec<u8>) -> Result<Vec<u8>> {
    let file = object::File::parse(&*object).context("it is no ELF object")?;
    let section = file.section_by_name(".BTF").context("it has no BTF")?;
    let (start, size) = section.file_range().context("its BTF is empty")?;
    let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
    let btf = object.get(start..start + size).context("its BTF lies outside of it")?;
    for at in invalid_bytes(btf)? {
        object[start + at] = b'_';
    }
    Ok(object)
}

/// Where, in BTF, names of types have characters that C does not allow.
fn invalid_bytes(btf: &[u8]) -> Result<Vec<usize>> {
    let parsed = Btf::parse(btf.to_vec())?;
    let mut invalid = Vec::new();
    for (_, record) in parsed.types().filter(|(_, record)| record.kind == kind::UNION) {
        let name = parsed.name_range(record.name).context("a union's name is missing")?;
        let is_wrong = |&at: &usize| !btf[at].is_ascii_alphanumeric() && btf[at] != b'_';
        invalid.extend(name.filter(is_wrong));
    }
    Ok(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with a union of this name and an integer of another.
    fn btf(union: &str) -> Vec<u8> {
        let strings = format!("\0{union}\0an<int>\0");
        let integer = u32::try_from(union.len()).unwrap() + 2;
        let types = [
            [1, 5 << 24, 1].as_slice(),          // union, no members, one byte
            [integer, 1 << 24, 1, 8].as_slice(), // integer of eight bits
        ]
        .concat();
        let (types_len, strings_len) = (types.len() as u32 * 4, strings.len() as u32);
        let header = [0x0001_eb9f, 24, 0, types_len, types_len, strings_len];
        let words = header.into_iter().chain(types);
        words.flat_map(u32::to_le_bytes).chain(strings.bytes()).collect()
    }

    #[test]
    fn finds_what_the_kernel_would_refuse_in_names_of_unions() {
        let bytes = btf("MaybeUninit<u8>");
        let invalid = invalid_bytes(&bytes).unwrap();
        let found: Vec<u8> = invalid.iter().map(|&at| bytes[at]).collect();
        assert_eq!(found, b"<>");
    }

    #[test]
    fn leaves_good_names_alone() {
        assert!(invalid_bytes(&btf("MaybeUninit_3C_u8_3E_")).unwrap().is_empty());
    }
}
