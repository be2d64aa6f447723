# Where further CPUs start: 16-bit code that is copied to AP_PAGE << 12. It enters long mode on the boot page tables, goes to the
# kernel's half, takes the next index (`tyn_ap_next`), loads the kernel's page table and the stack of that index, and calls
# `tyn_ap_rust(index)`.

.set AP_BASE, 0x8000

.section .rodata.tyn_ap, "a", @progbits
.globl tyn_ap_code
tyn_ap_code:
.code16
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl AP_BASE + (tyn_ap_gdt_pointer - tyn_ap_code)
    movl $0x620, %eax                       # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $(tyn_boot_pml4 - 0xffffffff80000000), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx                  # EFER
    rdmsr
    orl $0x901, %eax                        # SCE, LME, NXE
    wrmsr
    movl $0x80050033, %eax                  # PG, AM (as Linux: ring 3 may ask for alignment checks), WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $8, $(AP_BASE + (1f - tyn_ap_code))
.code64
1:  movabsq $tyn_ap_high, %rax
    jmp *%rax
.balign 8
tyn_ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                # 64-bit code
    .quad 0x00cf93000000ffff                # data
tyn_ap_gdt_pointer:
    .word tyn_ap_gdt_pointer - tyn_ap_gdt - 1
    .long AP_BASE + (tyn_ap_gdt - tyn_ap_code)
.globl tyn_ap_code_end
tyn_ap_code_end:

.section .text.tyn_ap, "ax", @progbits
tyn_ap_high:
    movl $0x10, %eax                        # SS as SYSCALL leaves it; see `tyn_trap`
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movq tyn_ap_root(%rip), %rax
    movq %rax, %cr3
    movl $1, %edi
    lock xaddl %edi, tyn_ap_next(%rip)
    leaq tyn_ap_stacks(%rip), %rax
    movq (%rax,%rdi,8), %rsp
    xorl %ebp, %ebp
    call tyn_ap_rust
2:  cli
    hlt
    jmp 2b
