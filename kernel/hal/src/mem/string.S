# memcpy, memmove, memset, memcmp and strlen, as the C library would give them; string.rs gives them these names.
#
# Blocks are moved by plain loads and stores rather than by REP: an emulator executes REP one element at a time, and on hardware
# the start of REP costs more than most copies of Rust values take. The last block overlaps the one before it, so nothing is
# moved byte by byte.

.section .text.tyn_string, "ax", @progbits

# tyn_memcpy(dst: rdi, src: rsi, len: rdx) -> dst. Up to 32 bytes are read before any is written.
.globl tyn_memcpy
.type tyn_memcpy, @function
.balign 16
tyn_memcpy:
    mov rax, rdi
    cmp rdx, 16
    jb 3f
    cmp rdx, 32
    jbe 2f
    lea rcx, [rdx - 1]
    shr rcx, 5                          # blocks before the last one of 1 to 32 bytes
    dec edx
    and edx, 31
1:  mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + 16]
    mov r11, [rsi + 24]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + 16], r10
    mov [rdi + 24], r11
    add rsi, 32
    add rdi, 32
    dec rcx
    jnz 1b
    mov r8, [rsi + rdx - 31]
    mov r9, [rsi + rdx - 23]
    mov r10, [rsi + rdx - 15]
    mov r11, [rsi + rdx - 7]
    mov [rdi + rdx - 31], r8
    mov [rdi + rdx - 23], r9
    mov [rdi + rdx - 15], r10
    mov [rdi + rdx - 7], r11
    ret
2:  mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + rdx - 16]
    mov r11, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + rdx - 16], r10
    mov [rdi + rdx - 8], r11
    ret
3:  cmp edx, 8
    jb 4f
    mov r8, [rsi]
    mov r9, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + rdx - 8], r9
    ret
4:  cmp edx, 4
    jb 5f
    mov r8d, [rsi]
    mov r9d, [rsi + rdx - 4]
    mov [rdi], r8d
    mov [rdi + rdx - 4], r9d
    ret
5:  test edx, edx
    jz 6f
    mov ecx, edx                        # of 1, 2 or 3 bytes: the first, the one at half the length, the last
    shr ecx, 1
    movzx r8d, byte ptr [rsi]
    movzx r9d, byte ptr [rsi + rcx]
    movzx r10d, byte ptr [rsi + rdx - 1]
    mov [rdi], r8b
    mov [rdi + rcx], r9b
    mov [rdi + rdx - 1], r10b
6:  ret
.size tyn_memcpy, . - tyn_memcpy

# tyn_memmove(dst: rdi, src: rsi, len: rdx) -> dst
.globl tyn_memmove
.type tyn_memmove, @function
.balign 16
tyn_memmove:
    cmp rdx, 32
    jbe tyn_memcpy
    mov rax, rdi
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    mov rcx, rdx
    jb 2f                               # the destination starts within the source: from the end
    shr rcx, 5
    and edx, 31
1:  mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + 16]
    mov r11, [rsi + 24]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + 16], r10
    mov [rdi + 24], r11
    add rsi, 32
    add rdi, 32
    dec rcx
    jnz 1b
    jmp 4f
2:  shr rcx, 5
    add rsi, rdx
    add rdi, rdx
    and edx, 31
3:  mov r8, [rsi - 8]
    mov r9, [rsi - 16]
    mov r10, [rsi - 24]
    mov r11, [rsi - 32]
    mov [rdi - 8], r8
    mov [rdi - 16], r9
    mov [rdi - 24], r10
    mov [rdi - 32], r11
    sub rsi, 32
    sub rdi, 32
    dec rcx
    jnz 3b
    sub rsi, rdx
    sub rdi, rdx
4:  push rax                            # fewer than 32 bytes are left
    call tyn_memcpy
    pop rax
    ret
.size tyn_memmove, . - tyn_memmove

# tyn_memset(dst: rdi, byte: esi, len: rdx) -> dst
.globl tyn_memset
.type tyn_memset, @function
.balign 16
tyn_memset:
    mov rax, rdi
    movzx esi, sil
    mov rcx, 0x0101010101010101
    imul rsi, rcx
    cmp rdx, 16
    jb 4f
    cmp rdx, 32
    jbe 3f
    cmp rdx, 64
    jbe 2f
    lea rcx, [rdx - 1]
    shr rcx, 6                          # blocks before the last one of 1 to 64 bytes
    dec edx
    and edx, 63
1:  mov [rdi], rsi
    mov [rdi + 8], rsi
    mov [rdi + 16], rsi
    mov [rdi + 24], rsi
    mov [rdi + 32], rsi
    mov [rdi + 40], rsi
    mov [rdi + 48], rsi
    mov [rdi + 56], rsi
    add rdi, 64
    dec rcx
    jnz 1b
    mov [rdi + rdx - 63], rsi
    mov [rdi + rdx - 55], rsi
    mov [rdi + rdx - 47], rsi
    mov [rdi + rdx - 39], rsi
    mov [rdi + rdx - 31], rsi
    mov [rdi + rdx - 23], rsi
    mov [rdi + rdx - 15], rsi
    mov [rdi + rdx - 7], rsi
    ret
2:  mov [rdi + 16], rsi
    mov [rdi + 24], rsi
    mov [rdi + rdx - 32], rsi
    mov [rdi + rdx - 24], rsi
3:  mov [rdi], rsi
    mov [rdi + 8], rsi
    mov [rdi + rdx - 16], rsi
    mov [rdi + rdx - 8], rsi
    ret
4:  cmp edx, 8
    jb 5f
    mov [rdi], rsi
    mov [rdi + rdx - 8], rsi
    ret
5:  cmp edx, 4
    jb 6f
    mov [rdi], esi
    mov [rdi + rdx - 4], esi
    ret
6:  test edx, edx
    jz 7f
    mov [rdi], sil
    mov [rdi + rdx - 1], sil
    shr edx, 1
    mov [rdi + rdx], sil
7:  ret
.size tyn_memset, . - tyn_memset

# tyn_memcmp(a: rdi, b: rsi, len: rdx) -> less than, equal to or greater than 0
.globl tyn_memcmp
.type tyn_memcmp, @function
.balign 16
tyn_memcmp:
    cmp rdx, 8
    jb 4f
    lea rcx, [rdx - 1]
    dec edx
    and edx, 7
    shr rcx, 3                          # words before the last one of 1 to 8 bytes
    jz 2f
1:  mov rax, [rdi]
    mov r8, [rsi]
    cmp rax, r8
    jne 3f
    add rdi, 8
    add rsi, 8
    dec rcx
    jnz 1b
2:  mov rax, [rdi + rdx - 7]
    mov r8, [rsi + rdx - 7]
    cmp rax, r8
    jne 3f
    xor eax, eax
    ret
3:  bswap rax                           # the first byte decides
    bswap r8
    cmp rax, r8
    sbb eax, eax
    or eax, 1
    ret
4:  xor eax, eax
    test edx, edx
    jz 6f
5:  movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    sub eax, ecx
    jnz 6f
    inc rdi
    inc rsi
    dec edx
    jnz 5b
6:  ret
.size tyn_memcmp, . - tyn_memcmp

# tyn_strlen(s: rdi) -> bytes before the NUL
.globl tyn_strlen
.type tyn_strlen, @function
tyn_strlen:
    mov rax, rdi
1:  cmp byte ptr [rax], 0
    je 2f
    inc rax
    jmp 1b
2:  sub rax, rdi
    ret
.size tyn_strlen, . - tyn_strlen
