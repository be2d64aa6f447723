//! What the kernel may not have: instructions that use vector or floating-point registers (docs/design/0015).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// The two functions that store and load these registers for a task (`kernel/hal/src/arch/x86_64/entry.S`).
const MOVERS: [&str; 2] = ["tyn_store_sse", "tyn_load_sse"];

/// Returns the functions of an ELF file that use such registers, and the address where each does so first.
///
/// # Errors
/// When it cannot be read, or has no functions.
pub(super) fn users(elf: &[u8]) -> Result<BTreeMap<String, u64>> {
    let file = object::File::parse(elf)?;
    let mut users = BTreeMap::new();
    let mut functions = 0;
    for symbol in file.symbols() {
        let (name, address, size) = (symbol.name()?, symbol.address(), symbol.size());
        if symbol.kind() != SymbolKind::Text || size == 0 || MOVERS.contains(&name) {
            continue;
        }
        let Some(index) = symbol.section_index() else {
            continue;
        };
        let section = file.section_by_index(index)?;
        if section.kind() != SectionKind::Text {
            continue;
        }
        let code = section.data_range(address, size)?;
        let code = code.with_context(|| format!("{name} lies outside of its section"))?;
        functions += 1;
        let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let first = decoder.into_iter().find(uses_vectors);
        users.extend(first.map(|instruction| (name.to_owned(), instruction.ip())));
    }
    ensure!(functions > 0, "it has no functions with a size");
    Ok(users)
}

/// Whether an instruction uses a vector, mask or floating-point register.
fn uses_vectors(instruction: &Instruction) -> bool {
    let is_such = |operand: u32| {
        let register = instruction.op_register(operand);
        instruction.op_kind(operand) == OpKind::Register
            && (register.is_vector_register()
                || register.is_mm()
                || register.is_st()
                || register.is_k())
    };
    let is_x87 = |&feature: &CpuidFeature| matches!(feature, CpuidFeature::FPU | CpuidFeature::MMX);
    // Those that name no register. (Fences and prefetches came with SSE, too, and use none.)
    let is_nameless = matches!(
        instruction.mnemonic(),
        Mnemonic::Ldmxcsr
            | Mnemonic::Stmxcsr
            | Mnemonic::Vldmxcsr
            | Mnemonic::Vstmxcsr
            | Mnemonic::Vzeroupper
            | Mnemonic::Vzeroall
    );
    (0..instruction.op_count()).any(is_such)
        || instruction.cpuid_features().iter().any(is_x87)
        || is_nameless
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(code: &[u8]) -> bool {
        uses_vectors(&Decoder::new(64, code, DecoderOptions::NONE).decode())
    }

    #[test]
    fn registers_of_each_kind_are_seen() {
        // movaps [rdi], xmm1; vmovdqu ymm0, [r8]; movd mm0, eax; fld1; fld qword [rax]; kmovw k1, eax; ldmxcsr [rdi];
        // vzeroupper
        let such: [&[u8]; 8] = [
            &[0x0f, 0x29, 0x0f],
            &[0xc4, 0xc1, 0x7e, 0x6f, 0x00],
            &[0x0f, 0x6e, 0xc0],
            &[0xd9, 0xe8],
            &[0xdd, 0x00],
            &[0xc5, 0xf8, 0x92, 0xc8],
            &[0x0f, 0xae, 0x17],
            &[0xc5, 0xf8, 0x77],
        ];
        for code in such {
            assert!(uses(code), "{code:02x?}");
        }
        // mov rax, [rdi]; xsave64 [rdi]; fxsave64 [rdi]; rep movsq; sfence; prefetcht0 [rax]
        let others: [&[u8]; 6] = [
            &[0x48, 0x8b, 0x07],
            &[0x48, 0x0f, 0xae, 0x27],
            &[0x48, 0x0f, 0xae, 0x07],
            &[0xf3, 0x48, 0xa5],
            &[0x0f, 0xae, 0xf8],
            &[0x0f, 0x18, 0x08],
        ];
        for code in others {
            assert!(!uses(code), "{code:02x?}");
        }
    }

    #[test]
    fn a_program_of_the_host_has_them() -> Result<()> {
        let program = std::fs::read(std::env::current_exe()?)?;
        assert!(!users(&program)?.is_empty());
        Ok(())
    }
}
