//! Finishing touches to the kernel programs' object.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;
use object::{Object as _, ObjectSection as _};

use inotify_trace_btf::{Btf, kind};

/// Removes the debug information that BTF was made of: four fifths of the object.
///
/// BTF stays, from which loaders, the verifier's messages and bpftool have names and lines. Its
/// relocations go too: loaders don't apply them, because BTF has the offsets already.
pub fn strip_debug_sections(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("it is no ELF object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        let relocated = name.strip_prefix(b".rel").unwrap_or(name);
        let is_debug = relocated.starts_with(b".debug_");
        let relocates_btf = relocated != name && relocated.starts_with(b".BTF");
        section.delete = is_debug || relocates_btf;
    }
    // LLVM keeps the names of sections among those of symbols, which the builder does not.
    if !builder.sections.iter().any(|it| matches!(it.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    builder.delete_orphans();
    builder.set_section_sizes();
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("cannot write it without debug information")?;
    Ok(stripped)
}

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
    use object::elf::{R_BPF_64_32, R_BPF_64_64};
    use object::write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, ObjectSymbol as _, RelocationFlags,
        RelocationTarget, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    };

    /// A program that uses a map, with debug information before, between and after.
    fn linked() -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let section = |object: &mut Object<'_>, name: &str, kind, data: &[u8]| {
            let id = object.add_section(Vec::new(), name.into(), kind);
            object.append_section_data(id, data, 8);
            id
        };
        let relocate = |object: &mut Object<'_>, at: SectionId, symbol: SymbolId, r_type| {
            let flags = RelocationFlags::Elf { r_type };
            let relocation = Relocation { offset: 0, symbol, addend: 0, flags };
            object.add_relocation(at, relocation).unwrap();
        };
        let text = section(&mut object, ".debug_str", SectionKind::Debug, b"a name\0");
        let info = section(&mut object, ".debug_info", SectionKind::Debug, &[0; 64]);
        let maps = section(&mut object, "maps", SectionKind::Data, &[0; 28]);
        let btf = section(&mut object, ".BTF", SectionKind::Debug, b"types");
        let lines = section(&mut object, ".BTF.ext", SectionKind::Debug, b"line");
        let program = section(&mut object, "fentry", SectionKind::Text, &[0; 16]);
        let map = object.add_symbol(Symbol {
            name: b"RECORDS".into(),
            value: 0,
            size: 28,
            kind: SymbolKind::Data,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(maps),
            flags: SymbolFlags::None,
        });
        let (text, start) = (object.section_symbol(text), object.section_symbol(program));
        relocate(&mut object, program, map, R_BPF_64_64);
        relocate(&mut object, info, text, R_BPF_64_32);
        relocate(&mut object, btf, map, R_BPF_64_32);
        relocate(&mut object, lines, start, R_BPF_64_32);
        object.write().unwrap()
    }

    #[test]
    fn debug_information_goes_and_programs_maps_and_btf_stay() {
        let stripped = strip_debug_sections(&linked()).unwrap();
        let file = object::File::parse(&*stripped).unwrap();
        let names: Vec<_> = file.sections().map(|it| it.name().unwrap().to_owned()).collect();
        for expected in ["maps", ".BTF", ".BTF.ext", "fentry", ".relfentry"] {
            assert!(names.iter().any(|it| it == expected), "{expected} is not in {names:?}");
        }
        assert!(!names.iter().any(|it| it.contains("debug") || it.contains(".rel.")), "{names:?}");
        let data = |name| file.section_by_name(name).unwrap().data().unwrap();
        assert_eq!((data(".BTF"), data(".BTF.ext")), (&b"types"[..], &b"line"[..]));

        let program = file.section_by_name("fentry").unwrap();
        let relocations: Vec<_> = program.relocations().map(|(_, it)| it.target()).collect();
        let [RelocationTarget::Symbol(map)] = relocations[..] else { panic!("{relocations:?}") };
        let map = file.symbol_by_index(map).unwrap();
        assert_eq!(map.name(), Ok("RECORDS"));
        let section = file.section_by_index(map.section_index().unwrap()).unwrap();
        assert_eq!(section.name(), Ok("maps"));
    }

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
