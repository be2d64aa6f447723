/* signal(7): what faults become, masks, restarts, alternate stacks, queues. */
#include "abi.h"

#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

static void null_read(void) {
    (void)*(volatile char *)8;
}

static void kernel_read(void) {
    (void)*(volatile char *)0xffff800000001000UL;
}

static void kernel_write(void) {
    *(volatile char *)0xffffffff80001000UL = 1;
}

static void non_canonical(void) {
    *(volatile char *)0x8000000000000000UL = 1;
}

static void divide(void) {
    volatile int zero = 0, one = 1;
    one = one / zero;
}

static void illegal(void) {
    __asm__ volatile("ud2");
}

static void privileged(void) {
    __asm__ volatile("hlt");
}

static void port(void) {
    __asm__ volatile("outb %%al, $0x80" ::: "memory");
}

static void breakpoint(void) {
    __asm__ volatile("int3");
}

static void jump_to_kernel(void) {
    ((void (*)(void))0xffffffff80000000UL)();
}

static void jump_nowhere(void) {
    ((void (*)(void))0)();
}

static void call_abort(void) {
    abort();
}

static void interrupt_gate(void) {
    __asm__ volatile("int $0x0d");
}

static const struct {
    const char *name;
    void (*run)(void);
} crimes[] = {{"null read", null_read},
              {"kernel read", kernel_read},
              {"kernel write", kernel_write},
              {"non-canonical", non_canonical},
              {"divide by zero", divide},
              {"illegal instruction", illegal},
              {"privileged instruction", privileged},
              {"port", port},
              {"breakpoint", breakpoint},
              {"jump into the kernel", jump_to_kernel},
              {"jump to null", jump_nowhere},
              {"abort", call_abort},
              {"interrupt gate", interrupt_gate}};

CASE(signal_crimes_kill_alone) {
    for (size_t i = 0; i < sizeof crimes / sizeof *crimes; i++)
        in_child(crimes[i].name, crimes[i].run);
    say("still here\n");
}

static sigjmp_buf back;

static void tell_fault(int signal, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    say("SIG%s code %d address %#lx trap %lld error %#llx\n", sigabbrev_np(signal), info->si_code,
        signal == SIGSEGV ? (unsigned long)info->si_addr : 0, u->uc_mcontext.gregs[REG_TRAPNO],
        u->uc_mcontext.gregs[REG_ERR]);
    siglongjmp(back, 1);
}

CASE(signal_fault_details) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction act = {.sa_sigaction = tell_fault, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 5; i++)
        MUST(sigaction(signals[i], &act, 0));
    for (size_t i = 0; i < sizeof crimes / sizeof *crimes; i++) {
        /* An emulated CPU gives another error code for the interrupt gate. */
        if (crimes[i].run == call_abort || crimes[i].run == interrupt_gate)
            continue;
        say("%s: ", crimes[i].name);
        if (sigsetjmp(back, 1) == 0)
            crimes[i].run();
    }
}

/* A fault in a handler's own code, while the signal is blocked, kills. */
static void fault_again(int signal) {
    (void)signal;
    null_read();
}

static void double_fault(void) {
    signal(SIGSEGV, fault_again);
    null_read();
}

static void blocked_fault(void) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGSEGV);
    sigprocmask(SIG_BLOCK, &s, 0);
    signal(SIGSEGV, fault_again);
    null_read();
}

static void ignored_fault(void) {
    signal(SIGFPE, SIG_IGN);
    divide();
}

CASE(signal_faults_cannot_be_hidden) {
    in_child("fault in handler", double_fault);
    in_child("fault while blocked", blocked_fault);
    in_child("fault while ignored", ignored_fault);
}

static volatile int handled;

static void count(int signal) {
    (void)signal;
    handled++;
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(signal, &act, 0));
}

CASE(signal_mask_and_pending) {
    sigset_t block, pending;
    handle(SIGUSR1, count, 0);
    handle(SIGUSR2, count, 0);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigaddset(&block, SIGUSR2);
    R(sigprocmask(SIG_BLOCK, &block, 0));
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        kill(getpid(), SIGUSR2);
    }
    sigpending(&pending);
    say("handled %d, pending %d %d %d\n", handled, sigismember(&pending, SIGUSR1),
        sigismember(&pending, SIGUSR2), sigismember(&pending, SIGHUP));
    sigdelset(&block, SIGUSR2);
    R(sigprocmask(SIG_SETMASK, &block, 0));
    say("handled %d\n", handled);
    R(sigprocmask(SIG_UNBLOCK, &block, 0));
    say("handled %d\n", handled);
    R(sigprocmask(99, &block, 0));
    R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &block, 0, 4));
    R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)8, 0, 8));
    sigfillset(&block);
    sigprocmask(SIG_SETMASK, &block, 0);
    sigprocmask(SIG_SETMASK, 0, &block);
    say("KILL and STOP can be blocked: %d %d\n", sigismember(&block, SIGKILL),
        sigismember(&block, SIGSTOP));
}

CASE(signal_actions) {
    struct sigaction act = {.sa_handler = count, .sa_flags = SA_RESTART}, old;
    R(sigaction(SIGUSR1, 0, &old));
    say("default %d\n", old.sa_handler == SIG_DFL);
    R(sigaction(SIGUSR1, &act, &old));
    R(sigaction(SIGUSR1, 0, &old));
    say("ours %d, flags %#x\n", old.sa_handler == count, old.sa_flags & ~0x04000000);
    R(sigaction(SIGKILL, &act, 0));
    R(sigaction(SIGSTOP, &act, 0));
    R(sigaction(SIGKILL, 0, &old));
    R(sigaction(0, &act, 0));
    R(sigaction(65, &act, 0));
    act.sa_flags = SA_RESETHAND;
    MUST(sigaction(SIGUSR2, &act, 0));
    raise(SIGUSR2);
    sigaction(SIGUSR2, 0, &old);
    say("reset %d, handled %d\n", old.sa_handler == SIG_DFL, handled);
    R(kill(getpid(), 0));
    R(kill(getpid(), 65));
    R(kill(getpid(), -1));
    R(kill(1 << 22, 0));
}

static volatile int depth, deepest, left;

static void nest(int signal) {
    if (++depth > deepest)
        deepest = depth;
    if (--left > 0)
        raise(signal);
    depth--;
}

CASE(signal_nesting) {
    handle(SIGUSR1, nest, SA_NODEFER);
    left = 3;
    raise(SIGUSR1);
    say("with SA_NODEFER: %d\n", deepest);
    deepest = 0;
    left = 3;
    handle(SIGUSR2, nest, 0);
    raise(SIGUSR2);
    say("without: %d, left %d\n", deepest, left);
}

static void *interrupted_reader(int restart) {
    int p[2];
    MUST(pipe(p));
    handled = 0;
    handle(SIGUSR1, count, restart ? SA_RESTART : 0);
    pid_t self = getpid(), child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 3; i++) {
            sleep_ms(20);
            kill(self, SIGUSR1);
        }
        sleep_ms(20);
        MUST(write(p[1], "x", 1));
        _exit(0);
    }
    char c;
    R(read(p[0], &c, 1));
    say("interrupted at all: %d\n", handled > 0);
    int status;
    while (waitpid(child, &status, 0) == -1)
        ;
    return 0;
}

CASE(signal_restart) {
    say("with SA_RESTART\n");
    interrupted_reader(1);
    say("without\n");
    interrupted_reader(0);
    /* Sleeping is never restarted. */
    handle(SIGALRM, count, SA_RESTART);
    struct itimerval t = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &t, 0);
    struct timespec s = {5, 0}, left = {0, 0};
    R(nanosleep(&s, &left));
    say("left: %d\n", left.tv_sec == 4);
    alarm(0);
}

CASE(signal_suspend_and_wait) {
    sigset_t usr, none;
    sigemptyset(&none);
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    sigaddset(&usr, SIGRTMIN);
    handle(SIGUSR1, count, 0);
    MUST(sigprocmask(SIG_BLOCK, &usr, 0));
    raise(SIGUSR1);
    R(sigsuspend(&none));
    say("handled %d\n", handled);
    raise(SIGUSR1);
    siginfo_t info;
    R(sigwaitinfo(&usr, &info));
    say("code %d, from here %d, handled %d\n", info.si_code == SI_TKILL, info.si_pid == getpid(),
        handled);
    struct timespec t = {0, 20000000};
    R(sigtimedwait(&usr, &info, &t));
    for (int i = 0; i < 3; i++) {
        union sigval v = {.sival_int = i * 10};
        MUST(sigqueue(getpid(), SIGRTMIN, v));
    }
    for (int i = 0; i < 3; i++) {
        MUST(sigwaitinfo(&usr, &info));
        say("value %d, code %d\n", info.si_value.sival_int, info.si_code == SI_QUEUE);
    }
}

static char *stack_low;
static size_t stack_size = 65536;

static void where(int signal) {
    char here;
    stack_t now;
    (void)signal;
    sigaltstack(0, &now);
    say("on the alternate stack: %d, flags %d\n", &here >= stack_low && &here < stack_low + stack_size,
        now.ss_flags);
    R(sigaltstack(&now, 0));
}

static int endless(int n) {
    volatile char frame[4096];
    frame[0] = n;
    return n < 1 << 30 ? endless(n + 1) + frame[0] : 0;
}

static void overflowed(int signal, siginfo_t *info, void *context) {
    (void)info;
    (void)context;
    where(signal);
    _exit(3);
}

static void overflow_with_stack(void) {
    struct sigaction act = {.sa_sigaction = overflowed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    MUST(sigaction(SIGSEGV, &act, 0));
    endless(0);
}

CASE(signal_alternate_stack) {
    stack_low = malloc(stack_size);
    stack_t s = {.ss_sp = stack_low, .ss_size = stack_size}, old;
    R(sigaltstack(0, &old));
    say("disabled %d\n", old.ss_flags == SS_DISABLE);
    R(sigaltstack(&s, 0));
    handle(SIGUSR1, where, SA_ONSTACK);
    raise(SIGUSR1);
    handle(SIGUSR1, where, 0);
    raise(SIGUSR1);
    in_child("overflow", overflow_with_stack);
    s.ss_size = 100;
    R(sigaltstack(&s, 0));
    s.ss_flags = 77;
    R(sigaltstack(&s, 0));
}

/* A handler changes registers of the interrupted code. */
static void skip_instruction(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RIP] += 2;
    u->uc_mcontext.gregs[REG_RAX] = 1234;
}

CASE(signal_context) {
    struct sigaction act = {.sa_sigaction = skip_instruction, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGILL, &act, 0));
    long value, kept = 99;
    double d = 1.5;
    __asm__ volatile("movsd %3, %%xmm9\n movq %2, %%r12\n ud2\n movsd %%xmm9, %1\n movq %%r12, %2"
                     : "=a"(value), "+m"(d), "+m"(kept)
                     : "m"(d)
                     : "xmm9", "r12", "memory");
    say("rax %ld, kept %ld, xmm %g\n", value, kept, d);
}

static void child_ended(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    say("SIGCHLD: code %d status %d\n", info->si_code, info->si_status);
}

CASE(signal_child) {
    struct sigaction act = {.sa_sigaction = child_ended, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(SIGCHLD, &act, 0));
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(5);
    reap("first", child);
    child = MUST(fork());
    if (child == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    reap("second", child);
    /* Ignored: no zombies. */
    handle(SIGCHLD, SIG_IGN, 0);
    child = MUST(fork());
    if (child == 0)
        _exit(5);
    R(waitpid(child, 0, 0) == child);
}

static void *send_to(void *arg) {
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return 0;
}

static pthread_t handled_by;

static void note_thread(int signal) {
    (void)signal;
    handled_by = pthread_self();
    handled++;
}

CASE(signal_threads) {
    handle(SIGUSR1, note_thread, 0);
    pthread_t self = pthread_self(), t;
    pthread_create(&t, 0, send_to, &self);
    pthread_join(t, 0);
    while (!handled)
        sched_yield();
    say("by the right thread: %d\n", pthread_equal(handled_by, self));
    R(syscall(SYS_tgkill, getpid(), gettid(), 0));
    R(syscall(SYS_tgkill, getpid(), 1 << 22, 0));
    R(syscall(SYS_tgkill, 1, gettid(), 0));
    R(syscall(SYS_tgkill, -1, gettid(), 0));
}

CASE(signal_stop_and_continue) {
    int p[2];
    MUST(pipe(p));
    pid_t child = MUST(fork());
    if (child == 0) {
        raise(SIGSTOP);
        MUST(write(p[1], "x", 1));
        pause();
        _exit(0);
    }
    int status;
    char c;
    MUST(waitpid(child, &status, WUNTRACED));
    say_status("child", status);
    R(waitpid(child, &status, WUNTRACED | WNOHANG));
    R(kill(child, SIGCONT));
    MUST(waitpid(child, &status, WCONTINUED));
    say_status("child", status);
    R(read(p[0], &c, 1));
    kill(child, SIGSTOP);
    MUST(waitpid(child, &status, WUNTRACED));
    kill(child, SIGKILL);
    reap("child", child);
}

CASE(signal_timers) {
    handle(SIGALRM, count, 0);
    struct itimerval t = {{0, 10000}, {0, 10000}}, old;
    R(setitimer(ITIMER_REAL, &t, 0));
    while (handled < 5)
        pause();
    t.it_interval.tv_usec = t.it_value.tv_usec = 0;
    R(setitimer(ITIMER_REAL, &t, &old));
    say("interval %ld\n", (long)old.it_interval.tv_usec);
    R(alarm(100));
    unsigned left = alarm(0);
    say("left %d\n", left == 99 || left == 100);
    R(setitimer(99, &t, 0));
    t.it_value.tv_usec = 1000000;
    R(setitimer(ITIMER_REAL, &t, 0));
}
