# Ring-3 programs of the self-test: position-independent, copied to a code page; DATA is where tests map memory.
# Conventions: a program reports with SYSCALL; RAX is 0 for "go on", 1 for "I found something wrong".

.set DATA, 0x500000

.section .rodata.tyn_selftest, "a", @progbits
.balign 16
.globl tyn_selftest_programs
tyn_selftest_programs:

# System calls for ever.
.globl tyn_selftest_syscall
tyn_selftest_syscall:
    syscall
    jmp tyn_selftest_syscall

# Stores the general registers and the flags at DATA, in the order of `trap::Regs`, and reports.
.balign 16
.globl tyn_selftest_store
tyn_selftest_store:
    mov [DATA + 0x00], rax
    mov [DATA + 0x08], rbx
    mov [DATA + 0x10], rcx
    mov [DATA + 0x18], rdx
    mov [DATA + 0x20], rsi
    mov [DATA + 0x28], rdi
    mov [DATA + 0x30], rbp
    mov [DATA + 0x38], rsp
    mov [DATA + 0x40], r8
    mov [DATA + 0x48], r9
    mov [DATA + 0x50], r10
    mov [DATA + 0x58], r11
    mov [DATA + 0x60], r12
    mov [DATA + 0x68], r13
    mov [DATA + 0x70], r14
    mov [DATA + 0x78], r15
    lea rax, [rip + tyn_selftest_store]
    mov [DATA + 0x80], rax
    lea rsp, [DATA + 0x800]
    pushfq
    pop qword ptr [DATA + 0x88]
    xor eax, eax
    syscall
    jmp tyn_selftest_store

# Never ends and never traps.
.balign 16
.globl tyn_selftest_spin
tyn_selftest_spin:
    jmp tyn_selftest_spin

# Reads [RDI], writes RSI to [RDI], jumps to RDI.
.balign 16
.globl tyn_selftest_read
tyn_selftest_read:
    mov rax, [rdi]
    syscall
    jmp tyn_selftest_read
.balign 16
.globl tyn_selftest_write
tyn_selftest_write:
    mov [rdi], rsi
    syscall
    jmp tyn_selftest_write
.balign 16
.globl tyn_selftest_jump
tyn_selftest_jump:
    jmp rdi

# Writes RSI to [RDI] for ever; counts at [RDX].
.balign 16
.globl tyn_selftest_hammer
tyn_selftest_hammer:
    mov [rdi], rsi
    lock inc qword ptr [rdx]
    jmp tyn_selftest_hammer

# What ring 3 may not do, and other exceptions.
.balign 16
.globl tyn_selftest_divide
tyn_selftest_divide:
    xor eax, eax
    div eax
.balign 16
.globl tyn_selftest_undefined
tyn_selftest_undefined:
    ud2
.balign 16
.globl tyn_selftest_breakpoint
tyn_selftest_breakpoint:
    int3
    jmp tyn_selftest_breakpoint
.balign 16
.globl tyn_selftest_halt
tyn_selftest_halt:
    hlt
.balign 16
.globl tyn_selftest_port
tyn_selftest_port:
    in al, 0x80
.balign 16
.globl tyn_selftest_cli
tyn_selftest_cli:
    cli
.balign 16
.globl tyn_selftest_int80
tyn_selftest_int80:
    int 0x80
.balign 16
.globl tyn_selftest_sidt
tyn_selftest_sidt:
    sidt [DATA]
    syscall
.balign 16
.globl tyn_selftest_local_segment
tyn_selftest_local_segment:
    mov eax, 7
    mov ds, eax
    syscall
.balign 16
.globl tyn_selftest_far32
tyn_selftest_far32:
    lea rax, [rip + 1f]
    mov [rsp], eax
    mov word ptr [rsp + 4], 0x23
    jmp fword ptr [rsp]
1:  syscall

# Sets the flags in RSI, then (RDI 0) reports, (1) is undefined, (2) spins.
.balign 16
.globl tyn_selftest_flags
tyn_selftest_flags:
    push rsi
    popfq
    cmp edi, 1
    je 1f
    ja 2f
    syscall
1:  ud2
2:  jmp 2b

# Sets the segment bases to RDI and RSI, reports, and reports 1 when they differ afterwards.
.balign 16
.globl tyn_selftest_bases
tyn_selftest_bases:
    wrfsbase rdi
    wrgsbase rsi
1:  xor eax, eax
    syscall
    rdfsbase rbx
    rdgsbase rdx
    cmp rbx, rdi
    jne 2f
    cmp rdx, rsi
    je 1b
2:  mov eax, 1
    syscall
    jmp 2b

# Keeps patterns of seed RDI in every vector register (RDX 1: all 32 bytes, 0: 16), the x87 stack and both control words;
# scratch memory at R8 (4 KiB). Each round: report, read [R12] (which may fault), wait R13 loops, check; RBP counts.
.balign 16
.globl tyn_selftest_vectors
tyn_selftest_vectors:
    mov r9, r8
    mov rax, rdi
    mov r10, 6364136223846793005
    mov r14, 1442695040888963407
    mov ecx, 64
1:  imul rax, r10
    add rax, r14
    mov [r9], rax
    add r9, 8
    dec ecx
    jnz 1b
    mov eax, edi
    and eax, 3
    shl eax, 13
    or eax, 0x1f80
    mov [r8 + 0x200], eax
    ldmxcsr [r8 + 0x200]
    mov eax, edi
    and eax, 3
    shl eax, 10
    or eax, 0x037f
    mov [r8 + 0x208], ax
    fninit
    fldcw [r8 + 0x208]
    fild qword ptr [r8 + 0x00]
    fild qword ptr [r8 + 0x08]
    fild qword ptr [r8 + 0x10]
    fild qword ptr [r8 + 0x18]
    test edx, edx
    jz 2f
    vmovdqu ymm0, [r8 + 0x000]
    vmovdqu ymm1, [r8 + 0x020]
    vmovdqu ymm2, [r8 + 0x040]
    vmovdqu ymm3, [r8 + 0x060]
    vmovdqu ymm4, [r8 + 0x080]
    vmovdqu ymm5, [r8 + 0x0a0]
    vmovdqu ymm6, [r8 + 0x0c0]
    vmovdqu ymm7, [r8 + 0x0e0]
    vmovdqu ymm8, [r8 + 0x100]
    vmovdqu ymm9, [r8 + 0x120]
    vmovdqu ymm10, [r8 + 0x140]
    vmovdqu ymm11, [r8 + 0x160]
    vmovdqu ymm12, [r8 + 0x180]
    vmovdqu ymm13, [r8 + 0x1a0]
    vmovdqu ymm14, [r8 + 0x1c0]
    vmovdqu ymm15, [r8 + 0x1e0]
    jmp 3f
2:  movdqu xmm0, [r8 + 0x000]
    movdqu xmm1, [r8 + 0x020]
    movdqu xmm2, [r8 + 0x040]
    movdqu xmm3, [r8 + 0x060]
    movdqu xmm4, [r8 + 0x080]
    movdqu xmm5, [r8 + 0x0a0]
    movdqu xmm6, [r8 + 0x0c0]
    movdqu xmm7, [r8 + 0x0e0]
    movdqu xmm8, [r8 + 0x100]
    movdqu xmm9, [r8 + 0x120]
    movdqu xmm10, [r8 + 0x140]
    movdqu xmm11, [r8 + 0x160]
    movdqu xmm12, [r8 + 0x180]
    movdqu xmm13, [r8 + 0x1a0]
    movdqu xmm14, [r8 + 0x1c0]
    movdqu xmm15, [r8 + 0x1e0]
3:  xor ebp, ebp
tyn_selftest_vectors_round:
    xor eax, eax
    syscall
    mov rax, [r12]
    mov rcx, r13
1:  dec rcx
    jg 1b
    test edx, edx
    jz 2f
    vmovdqu [r8 + 0x400], ymm0
    vmovdqu [r8 + 0x420], ymm1
    vmovdqu [r8 + 0x440], ymm2
    vmovdqu [r8 + 0x460], ymm3
    vmovdqu [r8 + 0x480], ymm4
    vmovdqu [r8 + 0x4a0], ymm5
    vmovdqu [r8 + 0x4c0], ymm6
    vmovdqu [r8 + 0x4e0], ymm7
    vmovdqu [r8 + 0x500], ymm8
    vmovdqu [r8 + 0x520], ymm9
    vmovdqu [r8 + 0x540], ymm10
    vmovdqu [r8 + 0x560], ymm11
    vmovdqu [r8 + 0x580], ymm12
    vmovdqu [r8 + 0x5a0], ymm13
    vmovdqu [r8 + 0x5c0], ymm14
    vmovdqu [r8 + 0x5e0], ymm15
    jmp 3f
2:  movdqu [r8 + 0x400], xmm0
    movdqu [r8 + 0x420], xmm1
    movdqu [r8 + 0x440], xmm2
    movdqu [r8 + 0x460], xmm3
    movdqu [r8 + 0x480], xmm4
    movdqu [r8 + 0x4a0], xmm5
    movdqu [r8 + 0x4c0], xmm6
    movdqu [r8 + 0x4e0], xmm7
    movdqu [r8 + 0x500], xmm8
    movdqu [r8 + 0x520], xmm9
    movdqu [r8 + 0x540], xmm10
    movdqu [r8 + 0x560], xmm11
    movdqu [r8 + 0x580], xmm12
    movdqu [r8 + 0x5a0], xmm13
    movdqu [r8 + 0x5c0], xmm14
    movdqu [r8 + 0x5e0], xmm15
3:  # Compare: all qwords, or with SSE only the lower two of each four.
    xor ecx, ecx
4:  mov rax, [r8 + rcx * 8]
    cmp rax, [r8 + rcx * 8 + 0x400]
    jne 9f
    inc ecx
    test edx, edx
    jnz 5f
    mov eax, ecx
    and eax, 3
    cmp eax, 2
    jne 5f
    add ecx, 2
5:  cmp ecx, 64
    jb 4b
    mov ecx, 100
    stmxcsr [r8 + 0x604]
    mov eax, [r8 + 0x200]
    cmp eax, [r8 + 0x604]
    jne 9f
    inc ecx
    fnstcw [r8 + 0x608]
    mov ax, [r8 + 0x208]
    cmp ax, [r8 + 0x608]
    jne 9f
    inc ecx
    fistp qword ptr [r8 + 0x638]
    fistp qword ptr [r8 + 0x630]
    fistp qword ptr [r8 + 0x628]
    fistp qword ptr [r8 + 0x620]
    fild qword ptr [r8 + 0x00]
    fild qword ptr [r8 + 0x08]
    fild qword ptr [r8 + 0x10]
    fild qword ptr [r8 + 0x18]
    xor r9d, r9d
6:  mov rax, [r8 + r9 * 8]
    cmp rax, [r8 + r9 * 8 + 0x620]
    jne 9f
    inc r9d
    cmp r9d, 4
    jb 6b
    inc rbp
    jmp tyn_selftest_vectors_round
9:  mov eax, 1
    mov ebx, ecx
    syscall
    jmp 9b

.globl tyn_selftest_programs_end
tyn_selftest_programs_end:
