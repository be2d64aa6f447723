# The functions of the vDSO (vdso(7)): user code, copied to a page of its own; hal only carries it. Position-independent: it
# reaches nothing but the data page in front of the image, whose layout is in vdso.rs.

.section .rodata.tyn_vdso, "a", @progbits
.balign 64
.globl tyn_vdso_start
tyn_vdso_start:

# The image begins TYN_VDSO_TEXT bytes before this code, and the data page a page before the image.
.set TYN_VDSO_TEXT, 0x800
.set TYN_VDSO_DATA, tyn_vdso_start - TYN_VDSO_TEXT - 0x1000
.set TYN_VDSO_BASE_TSC, TYN_VDSO_DATA
.set TYN_VDSO_MULT, TYN_VDSO_DATA + 8
.set TYN_VDSO_WALL, TYN_VDSO_DATA + 16
.set TYN_VDSO_HAS_CPU, TYN_VDSO_DATA + 24

# Nanoseconds since boot: ((tsc - base_tsc) * mult) >> 32, as hal's clock. Clobbers rdx.
.macro TYN_VDSO_NANOS
    lfence                              # RDTSC is not ordered after earlier loads by itself
    rdtsc
    shl rdx, 32
    or rax, rdx
    xor edx, edx
    sub rax, [rip + TYN_VDSO_BASE_TSC]
    cmovb rax, rdx
    mul qword ptr [rip + TYN_VDSO_MULT]
    shrd rax, rdx, 32
.endm

# int clock_gettime(clockid_t clock: edi, struct timespec *out: rsi)
.globl tyn_vdso_clock_gettime
.type tyn_vdso_clock_gettime, @function
.balign 16
tyn_vdso_clock_gettime:
    cmp edi, 11
    ja 3f
    xor r8d, r8d
    mov eax, 0xd2                       # CLOCK_MONOTONIC, _RAW, _COARSE, CLOCK_BOOTTIME
    bt eax, edi
    jc 1f
    mov eax, 0x821                      # CLOCK_REALTIME, _COARSE, CLOCK_TAI
    bt eax, edi
    jnc 3f
    mov r8, [rip + TYN_VDSO_WALL]
1:  TYN_VDSO_NANOS
    add rax, r8
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
3:  mov eax, 228
    syscall
    ret
.size tyn_vdso_clock_gettime, . - tyn_vdso_clock_gettime

# int gettimeofday(struct timeval *out: rdi, struct timezone *zone: rsi)
.globl tyn_vdso_gettimeofday
.type tyn_vdso_gettimeofday, @function
.balign 16
tyn_vdso_gettimeofday:
    test rdi, rdi
    jz 1f
    TYN_VDSO_NANOS
    add rax, [rip + TYN_VDSO_WALL]
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rdi], rax
    mov eax, edx
    xor edx, edx
    mov ecx, 1000
    div ecx
    mov [rdi + 8], rax
1:  xor eax, eax
    test rsi, rsi
    jz 2f
    mov [rsi], rax                      # UTC, no daylight saving time
2:  ret
.size tyn_vdso_gettimeofday, . - tyn_vdso_gettimeofday

# time_t time(time_t *out: rdi)
.globl tyn_vdso_time
.type tyn_vdso_time, @function
.balign 16
tyn_vdso_time:
    TYN_VDSO_NANOS
    add rax, [rip + TYN_VDSO_WALL]
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    test rdi, rdi
    jz 1f
    mov [rdi], rax
1:  ret
.size tyn_vdso_time, . - tyn_vdso_time

# int getcpu(unsigned *cpu: rdi, unsigned *node: rsi, void *unused)
.globl tyn_vdso_getcpu
.type tyn_vdso_getcpu, @function
.balign 16
tyn_vdso_getcpu:
    cmp qword ptr [rip + TYN_VDSO_HAS_CPU], 0
    je 3f
    rdtscp                              # ECX: the CPU's index, put into TSC_AUX by hal
    xor eax, eax
    test rdi, rdi
    jz 1f
    mov [rdi], ecx
1:  test rsi, rsi
    jz 2f
    mov [rsi], eax                      # one NUMA node
2:  ret
3:  mov eax, 309
    syscall
    ret
.size tyn_vdso_getcpu, . - tyn_vdso_getcpu

.globl tyn_vdso_end
tyn_vdso_end:

.text
