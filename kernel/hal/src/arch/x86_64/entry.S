# Ring 3 and back; interrupts and exceptions in ring 0. Intel syntax; offsets come from Rust (`idt.rs`).
#
# Register block (`trap::Regs`): rax 0, rbx 8, rcx 10h, rdx 18h, rsi 20h, rdi 28h, rbp 30h, rsp 38h, r8..r15 40h.., rip 80h,
# rflags 88h.

.section .text.tyn_entry, "ax", @progbits

# tyn_run_user(context: rdi, by_sysret: esi) -> vector
#   Saves RBX and RBP on the task's kernel stack and goes to ring 3 with the registers in `context`. Whatever leaves ring 3
#   stores the user's registers in the context, takes RSP from the TSS and returns from here with the vector,
#   {TRAP_SYSCALL} for SYSCALL. All other registers are lost; the caller knows.
.globl tyn_run_user
.type tyn_run_user, @function
tyn_run_user:
    push rbx
    push rbp
    mov gs:[{USER_CONTEXT}], rdi
    mov gs:[{TSS_RSP0}], rsp
    test esi, esi
    jz 1f
    # By SYSRET: RIP comes from RCX, RFLAGS from R11; the caller made sure that the context says the same.
    mov rax, [rdi + 0x00]
    mov rbx, [rdi + 0x08]
    mov rcx, [rdi + 0x10]
    mov rdx, [rdi + 0x18]
    mov rsi, [rdi + 0x20]
    mov rbp, [rdi + 0x30]
    mov r8, [rdi + 0x40]
    mov r9, [rdi + 0x48]
    mov r10, [rdi + 0x50]
    mov r11, [rdi + 0x58]
    mov r12, [rdi + 0x60]
    mov r13, [rdi + 0x68]
    mov r14, [rdi + 0x70]
    mov r15, [rdi + 0x78]
    mov rsp, [rdi + 0x38]
    mov rdi, [rdi + 0x28]
    swapgs
    sysretq
1:  # By IRET.
    push {USER_DATA}
    push qword ptr [rdi + 0x38]
    push qword ptr [rdi + 0x88]
    push {USER_CODE}
    push qword ptr [rdi + 0x80]
    mov rax, [rdi + 0x00]
    mov rbx, [rdi + 0x08]
    mov rcx, [rdi + 0x10]
    mov rdx, [rdi + 0x18]
    mov rsi, [rdi + 0x20]
    mov rbp, [rdi + 0x30]
    mov r8, [rdi + 0x40]
    mov r9, [rdi + 0x48]
    mov r10, [rdi + 0x50]
    mov r11, [rdi + 0x58]
    mov r12, [rdi + 0x60]
    mov r13, [rdi + 0x68]
    mov r14, [rdi + 0x70]
    mov r15, [rdi + 0x78]
    mov rdi, [rdi + 0x28]
    swapgs
    iretq
.size tyn_run_user, . - tyn_run_user

.macro leave_user
    cld
    mov rsp, gs:[{TSS_RSP0}]
    pop rbp
    pop rbx
    ret
.endm

.globl tyn_syscall_entry
.type tyn_syscall_entry, @function
tyn_syscall_entry:
    swapgs
    mov gs:[{SCRATCH}], rsp
    # RSP serves as the base register: nothing is pushed, and interrupts are off (SFMASK).
    mov rsp, gs:[{USER_CONTEXT}]
    mov [rsp + 0x00], rax
    mov [rsp + 0x08], rbx
    mov [rsp + 0x10], rcx
    mov [rsp + 0x18], rdx
    mov [rsp + 0x20], rsi
    mov [rsp + 0x28], rdi
    mov [rsp + 0x30], rbp
    mov [rsp + 0x40], r8
    mov [rsp + 0x48], r9
    mov [rsp + 0x50], r10
    mov [rsp + 0x58], r11
    mov [rsp + 0x60], r12
    mov [rsp + 0x68], r13
    mov [rsp + 0x70], r14
    mov [rsp + 0x78], r15
    mov [rsp + 0x80], rcx
    mov [rsp + 0x88], r11
    mov rax, gs:[{SCRATCH}]
    mov [rsp + 0x38], rax
    mov eax, {TRAP_SYSCALL}
    leave_user
.size tyn_syscall_entry, . - tyn_syscall_entry

# A stub has pushed the error code (or 0) and the vector:
#   [rsp] vector, 8 error code, 10h RIP, 18h CS, 20h RFLAGS, 28h RSP, 30h SS
.type tyn_trap, @function
tyn_trap:
    test byte ptr [rsp + 0x18], 3
    jz tyn_trap_in_kernel
    swapgs
    push rdi
    mov rdi, gs:[{USER_CONTEXT}]
    mov [rdi + 0x00], rax
    mov [rdi + 0x08], rbx
    mov [rdi + 0x10], rcx
    mov [rdi + 0x18], rdx
    mov [rdi + 0x20], rsi
    mov [rdi + 0x30], rbp
    mov [rdi + 0x40], r8
    mov [rdi + 0x48], r9
    mov [rdi + 0x50], r10
    mov [rdi + 0x58], r11
    mov [rdi + 0x60], r12
    mov [rdi + 0x68], r13
    mov [rdi + 0x70], r14
    mov [rdi + 0x78], r15
    pop rax
    mov [rdi + 0x28], rax
    mov rax, [rsp + 0x10]
    mov [rdi + 0x80], rax
    mov rax, [rsp + 0x20]
    mov [rdi + 0x88], rax
    mov rax, [rsp + 0x28]
    mov [rdi + 0x38], rax
    mov rax, [rsp + 0x08]
    mov gs:[{ERROR_CODE}], rax
    mov rax, cr2
    mov gs:[{FAULT_ADDRESS}], rax
    mov eax, [rsp]
    # Here SS is null, after SYSCALL it is the kernel's. Emulators keep code that they translated under one apart from that
    # under the other: one value everywhere spares them to translate the kernel twice.
    mov ecx, {KERNEL_DATA}
    mov ss, ecx
    # Unlike SYSCALL, an interrupt gate leaves AC as user code had it, and AC switches SMAP off. POPF clears it on CPUs without
    # CLAC too.
    push 2
    popfq
    leave_user
.size tyn_trap, . - tyn_trap

# A debug exception has a stack of its own: one that ring 3 caused may come at the first instruction of a system call, on
# ring 3's stack and with its GS (a single step that was pending; no debug register is ever set). It is ignored there.
.type tyn_trap_debug, @function
tyn_trap_debug:
    test byte ptr [rsp + 0x18], 3
    jnz tyn_trap
    and qword ptr [rsp + 0x20], ~0x100
    add rsp, 16
    iretq
.size tyn_trap_debug, . - tyn_trap_debug

# In ring 0: an interrupt where interrupts are enabled (at the idle HLT, in tyn_take_interrupts), a page fault at the user-copy
# instructions, or a kernel bug. All these are behind calls, so the interrupted code's red zone is empty.
.type tyn_trap_in_kernel, @function
tyn_trap_in_kernel:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rbp
    push rdi
    push rsi
    push rdx
    push rcx
    push rbx
    push rax
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    cld
    call tyn_kernel_trap
    mov rsp, rbp
    pop rax
    pop rbx
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    pop rbp
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq
.size tyn_trap_in_kernel, . - tyn_trap_in_kernel

# NMI and machine check may come in ring 0 at any instruction, even between SWAPGS and IRET, so they trust nothing: they do
# not touch GS and go to a Rust function that only reports and stops the machine.
.type tyn_trap_fatal, @function
tyn_trap_fatal:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rbp
    push rdi
    push rsi
    push rdx
    push rcx
    push rbx
    push rax
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    cld
    call tyn_fatal_trap
    ud2
.size tyn_trap_fatal, . - tyn_trap_fatal

# The stubs: 16 bytes each, in vector order.
.balign 16
.globl tyn_trap_stubs
tyn_trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if vector == 8 || vector == 10 || vector == 11 || vector == 12 || vector == 13 || vector == 14 || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    push 0
    .endif
    push vector
    .if vector == 2 || vector == 8 || vector == 18
    jmp tyn_trap_fatal
    .elseif vector == 1
    jmp tyn_trap_debug
    .else
    jmp tyn_trap
    .endif
    .set vector, vector + 1
.endr

# tyn_store_sse(area: rdi): xmm0-15 and MXCSR to the legacy region of an XSAVE area, in plain moves, which emulators translate where
# they call a function for XSAVE. Nothing but this and the next function uses vector registers: they are the user's.
.globl tyn_store_sse
.type tyn_store_sse, @function
tyn_store_sse:
    movaps [rdi + {XMM} + 0x00], xmm0
    movaps [rdi + {XMM} + 0x10], xmm1
    movaps [rdi + {XMM} + 0x20], xmm2
    movaps [rdi + {XMM} + 0x30], xmm3
    movaps [rdi + {XMM} + 0x40], xmm4
    movaps [rdi + {XMM} + 0x50], xmm5
    movaps [rdi + {XMM} + 0x60], xmm6
    movaps [rdi + {XMM} + 0x70], xmm7
    movaps [rdi + {XMM} + 0x80], xmm8
    movaps [rdi + {XMM} + 0x90], xmm9
    movaps [rdi + {XMM} + 0xa0], xmm10
    movaps [rdi + {XMM} + 0xb0], xmm11
    movaps [rdi + {XMM} + 0xc0], xmm12
    movaps [rdi + {XMM} + 0xd0], xmm13
    movaps [rdi + {XMM} + 0xe0], xmm14
    movaps [rdi + {XMM} + 0xf0], xmm15
    stmxcsr [rdi + {MXCSR}]
    ret
.size tyn_store_sse, . - tyn_store_sse

# tyn_load_sse(area: rdi)
.globl tyn_load_sse
.type tyn_load_sse, @function
tyn_load_sse:
    movaps xmm0, [rdi + {XMM} + 0x00]
    movaps xmm1, [rdi + {XMM} + 0x10]
    movaps xmm2, [rdi + {XMM} + 0x20]
    movaps xmm3, [rdi + {XMM} + 0x30]
    movaps xmm4, [rdi + {XMM} + 0x40]
    movaps xmm5, [rdi + {XMM} + 0x50]
    movaps xmm6, [rdi + {XMM} + 0x60]
    movaps xmm7, [rdi + {XMM} + 0x70]
    movaps xmm8, [rdi + {XMM} + 0x80]
    movaps xmm9, [rdi + {XMM} + 0x90]
    movaps xmm10, [rdi + {XMM} + 0xa0]
    movaps xmm11, [rdi + {XMM} + 0xb0]
    movaps xmm12, [rdi + {XMM} + 0xc0]
    movaps xmm13, [rdi + {XMM} + 0xd0]
    movaps xmm14, [rdi + {XMM} + 0xe0]
    movaps xmm15, [rdi + {XMM} + 0xf0]
    ldmxcsr [rdi + {MXCSR}]
    ret
.size tyn_load_sse, . - tyn_load_sse

# tyn_switch_stacks(save: rdi = where to store the old RSP, load: rsi = the new RSP)
.globl tyn_switch_stacks
.type tyn_switch_stacks, @function
tyn_switch_stacks:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size tyn_switch_stacks, . - tyn_switch_stacks

# A new task's first return address.
.globl tyn_task_start
.type tyn_task_start, @function
tyn_task_start:
    xor ebp, ebp
    call tyn_task_main
    ud2
.size tyn_task_start, . - tyn_task_start

# tyn_idle_wait(): enable interrupts, halt, disable. STI takes effect after HLT has begun, so nothing is lost.
.globl tyn_idle_wait
.type tyn_idle_wait, @function
tyn_idle_wait:
    sti
    hlt
    cli
    ret
.size tyn_idle_wait, . - tyn_idle_wait

# tyn_take_interrupts(): enable interrupts for one instruction, after which those that are pending come.
.globl tyn_take_interrupts
.type tyn_take_interrupts, @function
tyn_take_interrupts:
    sti
    nop
    cli
    ret
.size tyn_take_interrupts, . - tyn_take_interrupts

# tyn_copy_user(dst: rdi, src: rsi, len: rdx) -> bytes not copied. One of the two is a user address. A fault that cannot be
# resolved continues at the instruction after REP MOVS, with RCX counting what is left.
.globl tyn_copy_user
.type tyn_copy_user, @function
tyn_copy_user:
    mov rcx, rdx
    # An int or a long, as most are: REP takes long to begin. What faults for good is copied byte by byte, to count them.
    cmp rdx, 4
    je 4f
    cmp rdx, 8
    je 8f
    mov rax, rdx
    shr rcx, 3
    and eax, 7
.globl tyn_copy_user_words
tyn_copy_user_words:
    rep movsq
.globl tyn_copy_user_words_end
tyn_copy_user_words_end:
    # What is left: less than a word, or from a fault on. A word may have faulted for its last bytes, so go on by bytes.
    lea rcx, [rax + rcx * 8]
.globl tyn_copy_user_bytes
tyn_copy_user_bytes:
    rep movsb
.globl tyn_copy_user_bytes_end
tyn_copy_user_bytes_end:
    mov rax, rcx
    ret
4:
.globl tyn_copy_user_int_load
tyn_copy_user_int_load:
    mov eax, [rsi]
.globl tyn_copy_user_int_store
tyn_copy_user_int_store:
    mov [rdi], eax
    xor eax, eax
    ret
8:
.globl tyn_copy_user_long_load
tyn_copy_user_long_load:
    mov rax, [rsi]
.globl tyn_copy_user_long_store
tyn_copy_user_long_store:
    mov [rdi], rax
    xor eax, eax
    ret
.size tyn_copy_user, . - tyn_copy_user

# tyn_zero_user(dst: rdi, len: rsi) -> bytes not zeroed
.globl tyn_zero_user
.type tyn_zero_user, @function
tyn_zero_user:
    mov rcx, rsi
    xor eax, eax
    shr rcx, 3
    and esi, 7
.globl tyn_zero_user_words
tyn_zero_user_words:
    rep stosq
.globl tyn_zero_user_words_end
tyn_zero_user_words_end:
    lea rcx, [rsi + rcx * 8]
.globl tyn_zero_user_bytes
tyn_zero_user_bytes:
    rep stosb
.globl tyn_zero_user_bytes_end
tyn_zero_user_bytes_end:
    mov rax, rcx
    ret
.size tyn_zero_user, . - tyn_zero_user

# tyn_user_cmpxchg(va: rdi, expected: esi, new: edx, found: rcx = *mut u32) -> 0, or 1 on a fault
.globl tyn_user_cmpxchg
.type tyn_user_cmpxchg, @function
tyn_user_cmpxchg:
    mov eax, esi
    xor r8d, r8d
    inc r8d
.globl tyn_user_cmpxchg_access
tyn_user_cmpxchg_access:
    lock cmpxchg [rdi], edx
    dec r8d
.globl tyn_user_cmpxchg_end
tyn_user_cmpxchg_end:
    mov [rcx], eax
    mov eax, r8d
    ret
.size tyn_user_cmpxchg, . - tyn_user_cmpxchg

# tyn_user_load(va: rdi, found: rsi = *mut u32) -> 0, or 1 on a fault
.globl tyn_user_load
.type tyn_user_load, @function
tyn_user_load:
    mov eax, 1
.globl tyn_user_load_access
tyn_user_load_access:
    mov edx, [rdi]
    xor eax, eax
    mov [rsi], edx
.globl tyn_user_load_end
tyn_user_load_end:
    ret
.size tyn_user_load, . - tyn_user_load

# tyn_user_store(va: rdi, value: esi) -> 0, or 1 on a fault
.globl tyn_user_store
.type tyn_user_store, @function
tyn_user_store:
    mov eax, 1
.globl tyn_user_store_access
tyn_user_store_access:
    mov [rdi], esi
    xor eax, eax
.globl tyn_user_store_end
tyn_user_store_end:
    ret
.size tyn_user_store, . - tyn_user_store
