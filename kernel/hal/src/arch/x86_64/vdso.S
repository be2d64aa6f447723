# The vDSO (vdso(7)): a shared object of one page that the kernel maps into every process and that C libraries take functions
# from. User code, which hal only carries. Position-independent: it reaches nothing but the data page in front of the image,
# whose layout is in vdso.rs.
#
# It is what Linux's is as far as a dynamic linker looks: one loadable segment, a dynamic section, a symbol table with its hash
# table (DT_HASH), and the version LINUX_2.6 that glibc and musl ask for. No section headers.

.section .rodata.tyn_vdso, "a", @progbits
.balign 64
.globl tyn_vdso_start
tyn_vdso_start:
.set TYN_VDSO_LEN, tyn_vdso_end - tyn_vdso_start

    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0   # 64-bit, little-endian, version 1, System V
    .quad 0
    .short 3, 62                            # ET_DYN, EM_X86_64
    .long 1                                 # e_version
    .quad 0                                 # e_entry
    .quad tyn_vdso_segments - tyn_vdso_start
    .quad 0                                 # e_shoff
    .long 0                                 # e_flags
    .short 64, 56, 2, 64, 0, 0              # e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx

tyn_vdso_segments:
    .long 1, 5                              # PT_LOAD, read and execute
    .quad 0, 0, 0                           # p_offset, p_vaddr, p_paddr
    .quad TYN_VDSO_LEN, TYN_VDSO_LEN, 4096  # p_filesz, p_memsz, p_align
    .long 2, 4                              # PT_DYNAMIC, read
    .quad tyn_vdso_dynamic - tyn_vdso_start, tyn_vdso_dynamic - tyn_vdso_start, tyn_vdso_dynamic - tyn_vdso_start
    .quad tyn_vdso_symbols - tyn_vdso_dynamic, tyn_vdso_symbols - tyn_vdso_dynamic, 8

tyn_vdso_dynamic:
    .quad 14, tyn_vdso_soname - tyn_vdso_strings                # DT_SONAME
    .quad 4, tyn_vdso_hash - tyn_vdso_start                     # DT_HASH
    .quad 5, tyn_vdso_strings - tyn_vdso_start                  # DT_STRTAB
    .quad 6, tyn_vdso_symbols - tyn_vdso_start                  # DT_SYMTAB
    .quad 10, tyn_vdso_strings_end - tyn_vdso_strings           # DT_STRSZ
    .quad 11, 24                                                # DT_SYMENT
    .quad 0x6ffffffc, tyn_vdso_definitions - tyn_vdso_start     # DT_VERDEF
    .quad 0x6ffffffd, 2                                         # DT_VERDEFNUM
    .quad 0x6ffffff0, tyn_vdso_versions - tyn_vdso_start        # DT_VERSYM
    .quad 0, 0                                                  # DT_NULL

# Name, STB_GLOBAL and STT_FUNC, visibility, a section index (any but 0: defined), address, size.
.macro TYN_VDSO_SYMBOL name
    .long tyn_vdso_name_\name - tyn_vdso_strings
    .byte 0x12, 0
    .short 1
    .quad tyn_vdso_\name - tyn_vdso_start, tyn_vdso_\name\()_end - tyn_vdso_\name
.endm

tyn_vdso_symbols:
    .quad 0, 0, 0
    TYN_VDSO_SYMBOL clock_gettime
    TYN_VDSO_SYMBOL gettimeofday
    TYN_VDSO_SYMBOL time
    TYN_VDSO_SYMBOL getcpu

# One bucket, whose chain runs through all symbols.
tyn_vdso_hash:
    .long 1, 5, 1
    .long 0, 2, 3, 4, 0

# vd_version, vd_flags (1: VER_FLG_BASE), vd_ndx, vd_cnt; vd_hash (System V ABI), vd_aux, vd_next; vda_name, vda_next.
tyn_vdso_definitions:
    .short 1, 1, 1, 1
    .long 0xdeebfa1, 20, 28
    .long tyn_vdso_soname - tyn_vdso_strings, 0
    .short 1, 0, 2, 1
    .long 0x3ae75f6, 20, 0
    .long tyn_vdso_version - tyn_vdso_strings, 0

# The version of each symbol: none for the empty one, LINUX_2.6 for the others.
tyn_vdso_versions:
    .short 0, 2, 2, 2, 2

tyn_vdso_strings:
    .byte 0
tyn_vdso_soname: .asciz "linux-vdso.so.1"
tyn_vdso_version: .asciz "LINUX_2.6"
tyn_vdso_name_clock_gettime: .asciz "__vdso_clock_gettime"
tyn_vdso_name_gettimeofday: .asciz "__vdso_gettimeofday"
tyn_vdso_name_time: .asciz "__vdso_time"
tyn_vdso_name_getcpu: .asciz "__vdso_getcpu"
tyn_vdso_strings_end:

# The data page lies a page before the image.
.set TYN_VDSO_DATA, tyn_vdso_start - 0x1000
.set TYN_VDSO_SEQUENCE, TYN_VDSO_DATA
.set TYN_VDSO_BASE_TSC, TYN_VDSO_DATA + 8
.set TYN_VDSO_BASE_NS, TYN_VDSO_DATA + 16
.set TYN_VDSO_MULT, TYN_VDSO_DATA + 24
.set TYN_VDSO_WALL, TYN_VDSO_DATA + 32
.set TYN_VDSO_HAS_CPU, TYN_VDSO_DATA + 40

# Nanoseconds since boot: base_ns + ((tsc - base_tsc) * mult) >> 32, as hal's clock; once more if the kernel changed that
# meanwhile. Clobbers rcx, rdx.
.macro TYN_VDSO_NANOS
8:  mov rcx, [rip + TYN_VDSO_SEQUENCE]
    and rcx, -2                         # an odd count, of a change under way, equals none that is read below
    lfence                              # RDTSC is not ordered after earlier loads by itself
    rdtsc
    shl rdx, 32
    or rax, rdx
    xor edx, edx
    sub rax, [rip + TYN_VDSO_BASE_TSC]
    cmovb rax, rdx
    mul qword ptr [rip + TYN_VDSO_MULT]
    shrd rax, rdx, 32
    add rax, [rip + TYN_VDSO_BASE_NS]
    cmp rcx, [rip + TYN_VDSO_SEQUENCE]
    jne 8b
.endm

# int clock_gettime(clockid_t clock: edi, struct timespec *out: rsi)
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
tyn_vdso_clock_gettime_end:
.size tyn_vdso_clock_gettime, . - tyn_vdso_clock_gettime

# int gettimeofday(struct timeval *out: rdi, struct timezone *zone: rsi)
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
tyn_vdso_gettimeofday_end:
.size tyn_vdso_gettimeofday, . - tyn_vdso_gettimeofday

# time_t time(time_t *out: rdi)
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
tyn_vdso_time_end:
.size tyn_vdso_time, . - tyn_vdso_time

# int getcpu(unsigned *cpu: rdi, unsigned *node: rsi, void *unused)
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
tyn_vdso_getcpu_end:
.size tyn_vdso_getcpu, . - tyn_vdso_getcpu

.globl tyn_vdso_end
tyn_vdso_end:

.text
