# PVH entry (Xen's "x86/HVM direct boot ABI"): the loader enters `tyn_pvh_start` in 32-bit protected mode, paging off,
# interrupts off, with the physical address of `struct hvm_start_info` in EBX. It builds the first page tables (the first
# 4 GiB mapped at 0, at the direct map and, for the first GiB, at the kernel's link address), enters long mode and calls
# `tyn_boot_rust(information, protocol)` on the boot stack.
#
# Multiboot2 (GRUB, on BIOS and UEFI) enters `tyn_multiboot2_start` in the same state, with its own structure in EBX and a magic
# number in EAX, which is the protocol's number; PVH's is 0.

.set KERNEL_BASE, 0xffffffff80000000
.set PRESENT_WRITE, 0x3
.set PRESENT_WRITE_HUGE, 0x83

.section .note.pvh, "a", @note
.balign 4
    .long 4                                 # name size
    .long 8                                 # descriptor size
    .long 18                                # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad tyn_pvh_start - KERNEL_BASE

# The header, in the first 32 KiB of the file ("Multiboot2 Specification version 2.0", section 3.1).
.section .multiboot2, "a", @progbits
.balign 8
tyn_multiboot2_header:
    .long 0xe85250d6, 0                     # magic, i386
    .long tyn_multiboot2_end - tyn_multiboot2_header
    .long -(0xe85250d6 + tyn_multiboot2_end - tyn_multiboot2_header)
    .balign 8
    .short 3, 0                             # entry address
    .long 12
    .long tyn_multiboot2_start - KERNEL_BASE
    .balign 8
    .short 6, 0                             # modules on page boundaries
    .long 8
    .balign 8
    .short 0, 0                             # end
    .long 8
tyn_multiboot2_end:

.section .boot.text, "ax", @progbits
.code32
.globl tyn_multiboot2_start
.type tyn_multiboot2_start, @function
tyn_multiboot2_start:
    movl %eax, %esi
    jmp tyn_boot_start
.size tyn_multiboot2_start, . - tyn_multiboot2_start

.globl tyn_pvh_start
.type tyn_pvh_start, @function
tyn_pvh_start:
    xorl %esi, %esi
tyn_boot_start:
    cld
    movl %ebx, %ebp                         # start info
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb 8f
    movl $0x80000001, %eax
    cpuid
    andl $0x20100000, %edx                  # long mode, NX: what is written to EFER below (SYSCALL comes with the former)
    cmpl $0x20100000, %edx
    jne 8f
    # Page directories: four tables of 2 MiB pages for the first 4 GiB.
    movl $(tyn_boot_pd - KERNEL_BASE), %edi
    movl $PRESENT_WRITE_HUGE, %eax
    xorl %edx, %edx
    movl $2048, %ecx
1:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    # PDPT for addresses 0.. and the direct map: four directories.
    movl $(tyn_boot_pd - KERNEL_BASE + PRESENT_WRITE), %eax
    movl $(tyn_boot_pdpt_low - KERNEL_BASE), %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 2b
    # PDPT of the kernel's last 2 GiB: entry 510 is the first GiB.
    movl $(tyn_boot_pd - KERNEL_BASE + PRESENT_WRITE), %eax
    movl %eax, (tyn_boot_pdpt_high - KERNEL_BASE + 510 * 8)
    # PML4: 0, the direct map (256) and the kernel (511).
    movl $(tyn_boot_pdpt_low - KERNEL_BASE + PRESENT_WRITE), %eax
    movl %eax, (tyn_boot_pml4 - KERNEL_BASE)
    movl %eax, (tyn_boot_pml4 - KERNEL_BASE + 256 * 8)
    movl $(tyn_boot_pdpt_high - KERNEL_BASE + PRESENT_WRITE), %eax
    movl %eax, (tyn_boot_pml4 - KERNEL_BASE + 511 * 8)

    movl $0x620, %eax                       # PAE, OSFXSR, OSXMMEXCPT; none of what firmware may have set (LA57, PCIDE)
    movl %eax, %cr4
    movl $(tyn_boot_pml4 - KERNEL_BASE), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx                  # EFER
    rdmsr
    orl $0x901, %eax                        # SCE, LME, NXE
    wrmsr
    movl $0x80050033, %eax                  # PG, AM (as Linux: ring 3 may ask for alignment checks), WP, NE, ET, MP, PE
    movl %eax, %cr0
    lgdt tyn_boot_gdt_pointer - KERNEL_BASE
    ljmp $8, $(3f - KERNEL_BASE)
.code64
3:  movabsq $4f, %rax
    jmp *%rax
4:  movl $0x10, %eax                        # SS as SYSCALL leaves it; see `tyn_trap`
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    leaq tyn_boot_stack_top(%rip), %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    call tyn_boot_rust
5:  cli
    hlt
    jmp 5b

# A CPU that cannot run the kernel: says so on the report channel (port 0xE9) and on COM1, and ends the machine.
.code32
8:  movl $(tyn_boot_stack_top - KERNEL_BASE), %esp
    movl $(tyn_boot_refusal - KERNEL_BASE), %esi
    movl $0xe9, %edx
    call tyn_boot_say
    movl $(tyn_boot_refusal_text - KERNEL_BASE), %esi
    movl $0x3f8, %edx
    call tyn_boot_say
    xorl %eax, %eax
    movl $0x501, %edx                       # isa-debug-exit
    outb %al, %dx
9:  cli
    hlt
    jmp 9b
.size tyn_pvh_start, . - tyn_pvh_start

# Writes the string at ESI, which ends with 0, to port EDX, waiting for a UART to be ready (other ports read as all ones there).
.type tyn_boot_say, @function
tyn_boot_say:
    addl $5, %edx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    subl $5, %edx
    lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp tyn_boot_say
2:  ret
.size tyn_boot_say, . - tyn_boot_say
.code64

tyn_boot_refusal:
    .ascii "error "
tyn_boot_refusal_text:
    .asciz "this CPU lacks 64-bit mode or NX: give the machine another (-cpu max)\n"

.balign 8
tyn_boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                # 64-bit code
    .quad 0x00cf93000000ffff                # data
tyn_boot_gdt_end:
tyn_boot_gdt_pointer:
    .word tyn_boot_gdt_end - tyn_boot_gdt - 1
    .quad tyn_boot_gdt - KERNEL_BASE

.section .bss.boot, "aw", @nobits
.balign 4096
.globl tyn_boot_pml4
tyn_boot_pml4:      .skip 4096
tyn_boot_pdpt_low:  .skip 4096
tyn_boot_pdpt_high: .skip 4096
tyn_boot_pd:        .skip 4 * 4096
.globl tyn_boot_stack_guard
tyn_boot_stack_guard: .skip 4096            # left out of the kernel's own page table
    .skip 65536
.globl tyn_boot_stack_top
tyn_boot_stack_top:
