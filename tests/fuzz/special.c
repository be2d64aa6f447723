/* Calls whose callee does not simply return, and faults. */
#include "fuzz.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>

#define CHILD_CALLS 100
#define MAX_DEPTH 2
#define CHILD_STACK (8 * PAGE)

/* vfork(2), whose child exits at once. */
long tyn_vfork(void);
/* rt_sigreturn(2) with this stack pointer. */
void tyn_sigreturn(u64 stack) __attribute__((noreturn));

__asm__(".text\n.globl tyn_clone\n"
        "tyn_clone:\n"
        "subq $16, %rsi\n"
        "movq %r8, (%rsi)\n"
        "movq %r9, 8(%rsi)\n"
        "movq %rcx, %r10\n"
        "xorl %r8d, %r8d\n"
        "movl $56, %eax\n"
        "syscall\n"
        "testq %rax, %rax\n"
        "jnz 1f\n"
        "xorl %ebp, %ebp\n"
        "popq %rax\n"
        "popq %rdi\n"
        "callq *%rax\n"
        "ud2\n"
        "1: ret\n"
        "tyn_vfork:\n"
        "popq %rdx\n"
        "movl $58, %eax\n"
        "syscall\n"
        "testq %rax, %rax\n"
        "jz 2f\n"
        "pushq %rdx\n"
        "ret\n"
        "2: xorl %edi, %edi\n"
        "movl $60, %eax\n"
        "syscall\n"
        "ud2\n"
        "tyn_sigreturn:\n"
        "movq %rdi, %rsp\n"
        "movl $15, %eax\n"
        "syscall\n"
        "ud2\n");

static void enter_child(struct worker *child, const struct worker *w, u64 seed) {
    u32 at = __atomic_fetch_add(&SHARED->registered, 1, __ATOMIC_RELAXED) % REGISTRY;
    SHARED->registry[at] = (u32)CALL0(__NR_getpid);
    *child = *w;
    child->rng.state = seed;
    child->counter = &w->slot->children;
    child->depth++;
    child->left = CHILD_CALLS;
}

/* Nothing blocks for long, unless calls undo that. */
static void kick_every(u64 us) {
    u64 every[4] = {0, us, 0, us};
    CALL3(__NR_setitimer, 0, every, 0);
}

/* What a forked process does. It does not outlive its parent, unless calls undo that. */
static void run_child(const struct worker *w, u64 seed) {
    struct worker child;
    enter_child(&child, w, seed);
    CALL2(__NR_prctl, 1, 9);
    kick_every(5000);
    run_stream(&child);
    exit_now(0);
}

/* What a child on another stack does: `argument` is a copy of the worker at the stack's end. */
static void run_on_stack(void *argument) {
    struct worker child;
    struct worker *w = argument;
    enter_child(&child, w, stream(w->rng.state, 77));
    child.depth = MAX_DEPTH;
    run_stream(&child);
    CALL1(__NR_exit, 0);
}

static u64 clone_flags(struct rng *r) {
    static const u64 flags[] = {CLONE_FS,     CLONE_FILES,        CLONE_SIGHAND,        CLONE_VFORK,         CLONE_PARENT,
                                CLONE_SYSVSEM, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_SETTLS,
                                CLONE_IO,     CLONE_DETACHED,     CLONE_UNTRACED,       CLONE_PIDFD,         CLONE_CLEAR_SIGHAND};
    u64 value = one_in(r, 4) ? below(r, 65) : 17;
    for (u64 n = below(r, 5); n > 0; n--)
        value |= flags[below(r, sizeof flags / sizeof *flags)];
    if (SHARED->contained && one_in(r, 20))
        value |= 1ul << below(r, 34);
    return value & ~(u64)CLONE_VM;
}

static void clone_like_fork(struct worker *w) {
    struct rng *r = &w->rng;
    u64 seed = stream(r->state, ++w->forks);
    u64 flags = one_in(r, 3) ? clone_flags(r) : 17;
    long child;
    if (one_in(r, 4)) {
        u64 args[11] = {flags & ~0xfful, pointer(r), pointer(r), pointer(r), flags & 0xff};
        child = CALL2(__NR_clone3, args, one_in(r, 8) ? argument(w, LENGTH) : 64 + below(r, 4) * 8);
    } else if (one_in(r, 3)) {
        child = CALL0(__NR_fork);
    } else {
        child = raw(__NR_clone, flags, 0, pointer(r), pointer(r), pointer(r), 0);
    }
    if (child == 0)
        run_child(w, seed);
}

static void clone_shared(struct worker *w) {
    struct rng *r = &w->rng;
    long stack = raw(__NR_mmap, 0, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1ul, 0);
    if (stack < 0)
        return;
    struct worker *copy = (struct worker *)(stack + CHILD_STACK - 512);
    *copy = *w;
    u64 flags = clone_flags(r);
    if (!one_in(r, 4))
        flags = CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | (flags & CLONE_CHILD_CLEARTID);
    else if (one_in(r, 2))
        flags |= CLONE_VFORK;
    u64 ids = one_in(r, 2) ? ARENA + below(r, 4) * 4 : pointer(r);
    tyn_clone(flags | CLONE_VM, copy, ids, ids, run_on_stack, copy);
}

static size_t print(char *to, u64 n) {
    char digits[20];
    size_t count = 0, length = 0;
    do
        digits[count++] = '0' + n % 10;
    while (n /= 10);
    while (count)
        to[length++] = digits[--count];
    to[length] = 0;
    return length;
}

/* Becomes a fresh copy of this program, or tries to execute nonsense. */
static void execute(struct worker *w, int is_ours) {
    struct rng *r = &w->rng;
    char slot[24], seed[24], depth[24];
    if (!is_ours) {
        u64 path = argument(w, one_in(r, 3) ? PATH_OURS : PATH), list = argument(w, WORDS), env = argument(w, WORDS);
        if (one_in(r, 2))
            CALL3(__NR_execve, path, list, env);
        else
            raw(__NR_execveat, argument(w, DIRFD), path, list, env, from_set(r, AT_FLAGS), 0);
        return;
    }
    print(slot, (u64)(w->slot - SHARED->slots));
    print(seed, next(r));
    print(depth, w->depth + 1);
    const char *list[] = {"fuzz", "--executed", slot, seed, depth, SHARED->contained ? "1" : "0", 0};
    const char *env[] = {0};
    CALL3(__NR_execve, "/proc/self/exe", list, env);
}

/* A signal frame that is partly right. */
static void return_from_no_signal(struct worker *w) {
    struct rng *r = &w->rng;
    u64 frame[128] = {0};
    for (int i = 0; i < 128; i++)
        frame[i] = one_in(r, 3) ? argument(w, WORD) : 0;
    /* ucontext: flags, link, stack (3), r8 ... rip, eflags, cs/gs/fs/ss, err, trap, mask, cr2, fpstate. */
    frame[20] = one_in(r, 3) ? pointer(r) : ARENA + 64;
    frame[21] = one_in(r, 4) ? pointer(r) : (u64)on_signal;
    frame[22] = one_in(r, 2) ? 0x202 : next(r);
    frame[23] = one_in(r, 2) ? 0x2b000000000033 : next(r);
    frame[28] = one_in(r, 2) ? 0 : pointer(r);
    u64 at = ARENA + below(r, RW_PAGES - 2) * PAGE + below(r, 64) * 8;
    copy_safely((void *)at, frame, sizeof frame);
    tyn_sigreturn(one_in(r, 8) ? pointer(r) : at);
}

/* Does something that only a fault can come of. */
static void fault(struct worker *w) {
    struct rng *r = &w->rng;
    u64 at = one_in(r, 2) ? pointer(r) : 0xffff800000000000 + below(r, 1 << 30);
    switch (below(r, 16)) {
    case 0: *(volatile u64 *)at; break;
    case 1: *(volatile u64 *)at = 1; break;
    case 2: ((void (*)(void))at)(); break;
    case 3: __asm__ volatile("hlt"); break;
    case 4: __asm__ volatile("int3"); break;
    case 5: if (SHARED->contained) __asm__ volatile("int $0x80" ::"a"(20)); break;
    case 6: __asm__ volatile("ud2"); break;
    case 7: __asm__ volatile("xorl %%edx, %%edx; xorl %%ecx, %%ecx; divl %%ecx" ::: "rax", "rcx", "rdx"); break;
    case 8: __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "memory", "cc"); break;
    case 9: __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; movl 1(%%rsp), %%eax" ::: "rax", "memory", "cc"); break;
    case 10: __asm__ volatile("movq %0, %%rsp; pushq %%rax" ::"r"(at) : "memory"); break;
    case 11: __asm__ volatile("movq %0, %%rsp; movl $39, %%eax; syscall; pushq $0" ::"r"(at) : "rax", "rcx", "r11", "memory"); break;
    /* No IRET or RET to another segment: QEMU before 9.1 reads their operands with the rights of ring 0 and, under SMAP,
     * faults for ever. */
    case 12: __asm__ volatile("movq %0, %%cr3" ::"r"(at) : "memory"); break;
    case 13: __asm__ volatile("movl %0, %%ds; movl %0, %%es; movl %0, %%fs; movl %0, %%gs" ::"r"((u32)below(r, 0x50)) : "memory"); break;
    case 14: __asm__ volatile("int $0x0e"); break;
    default: __asm__ volatile("fninit; fldz; fld1; fdivp; movl $0x0, -4(%%rsp); fldcw -4(%%rsp); fldz; fld1; fdivp; fwait; "
                              "movl $0x0, -4(%%rsp); ldmxcsr -4(%%rsp); divps %%xmm0, %%xmm1" ::: "memory"); break;
    }
}

/* A call that is in no table, or in none of ours. */
static void unlisted(struct worker *w) {
    static const short left_out[] = {15, 34, 56, 57, 58, 59, 60, 169, 231, 246, 320, 322, 435};
    u64 nr = one_in(&w->rng, 8) ? argument(w, WORD) : below(&w->rng, 480);
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if ((u32)nr == (u32)left_out[i])
            return;
    u64 a[6];
    for (int i = 0; i < 6; i++)
        a[i] = argument(w, WORD);
    if (SHARED->contained)
        raw((long)nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void special(struct worker *w) {
    struct rng *r = &w->rng;
    u64 n = below(r, 100);
    if (n < 20) {
        if (w->depth < MAX_DEPTH)
            clone_like_fork(w);
    } else if (n < 35) {
        if (w->depth < MAX_DEPTH)
            clone_shared(w);
    } else if (n < 50) {
        execute(w, 0);
    } else if (n < 54) {
        if (w->depth > 0 || one_in(r, 20))
            execute(w, 1);
    } else if (n < 62) {
        tyn_vfork();
    } else if (n < 68) {
        if (w->depth > 0)
            return_from_no_signal(w);
    } else if (n < 76) {
        if (w->depth > 0)
            fault(w);
    } else if (n < 77) {
        if (w->depth > 0)
            CALL1(one_in(r, 2) ? __NR_exit : __NR_exit_group, argument(w, WORD));
    } else {
        unlisted(w);
    }
}
