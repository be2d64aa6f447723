/* Runs the cases, each in a child, and writes one transcript: the same on Linux and on Tyn. */
#include "abi.h"

#include <ftw.h>
#include <stdarg.h>
#include <sys/epoll.h>

#define MAX_CASES 1024
/* Seconds after which a case counts as hanging. */
#define CASE_SECONDS 30

static struct {
    const char *name;
    case_fn run;
} cases[MAX_CASES];
static int case_count;

void add_case(const char *name, case_fn run) {
    if (case_count == MAX_CASES)
        abort();
    cases[case_count].name = name;
    cases[case_count++].run = run;
}

void say(const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > (int)sizeof line - 1)
        n = sizeof line - 1;
    for (int done = 0; done < n;) {
        ssize_t w = write(STDOUT_FILENO, line + done, n - done);
        if (w < 0 && errno != EINTR)
            _exit(125);
        if (w > 0)
            done += w;
    }
}

long report(const char *what, long result) {
    if (result == -1)
        say("%s = -1 %s\n", what, strerrorname_np(errno));
    else
        say("%s = %ld\n", what, result);
    return result;
}

long report_ok(const char *what, long result) {
    if (result == -1)
        say("%s = -1 %s\n", what, strerrorname_np(errno));
    else
        say("%s ok\n", what);
    return result;
}

long must(const char *what, long result) {
    if (result == -1) {
        say("must work: %s = -1 %s\n", what, strerrorname_np(errno));
        _exit(124);
    }
    return result;
}

void say_status(const char *who, int status) {
    if (WIFEXITED(status))
        say("%s: exit %d\n", who, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        say("%s: killed by SIG%s\n", who, sigabbrev_np(WTERMSIG(status)));
    else if (WIFSTOPPED(status))
        say("%s: stopped by SIG%s\n", who, sigabbrev_np(WSTOPSIG(status)));
    else if (WIFCONTINUED(status))
        say("%s: continued\n", who);
    else
        say("%s: status %#x\n", who, status);
}

void reap(const char *who, pid_t child) {
    int status;
    pid_t pid;
    do
        pid = waitpid(child, &status, 0);
    while (pid == -1 && errno == EINTR);
    if (pid == child)
        say_status(who, status);
    else
        say("%s: waitpid = %s\n", who, strerrorname_np(errno));
}

void in_child(const char *who, void (*run)(void)) {
    pid_t child = MUST(fork());
    if (child == 0) {
        run();
        _exit(0);
    }
    reap(who, child);
}

long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

void say_events(const char *what, unsigned events) {
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},       {EPOLLOUT, "OUT"},
                 {EPOLLERR, "ERR"},       {EPOLLHUP, "HUP"},       {POLLNVAL, "NVAL"},
                 {EPOLLRDNORM, "RDNORM"}, {EPOLLRDBAND, "RDBAND"}, {EPOLLWRNORM, "WRNORM"},
                 {EPOLLWRBAND, "WRBAND"}, {EPOLLRDHUP, "RDHUP"}};
    char line[256];
    int n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (events & names[i].bit) {
            n += snprintf(line + n, sizeof line - n, " %s", names[i].name);
            events &= ~names[i].bit;
        }
    line[n] = 0;
    if (events)
        snprintf(line + n, sizeof line - n, " +%#x", events);
    say("%s:%s\n", what, *line ? line : " nothing");
}

unsigned poll_now(int fd) {
    struct pollfd p = {fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0};
    MUST(poll(&p, 1, 0));
    return (unsigned short)p.revents;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void run_case(int index) {
    char dir[] = "/tmp/tyn-abi-XXXXXX";
    say("== %s\n", cases[index].name);
    if (!mkdtemp(dir)) {
        say("-- mkdtemp: %s\n", strerrorname_np(errno));
        return;
    }
    pid_t child = MUST(fork());
    if (child == 0) {
        MUST(setpgid(0, 0));
        MUST(chdir(dir));
        alarm(CASE_SECONDS);
        cases[index].run();
        _exit(0);
    }
    setpgid(child, child);
    int status;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
    say_status("--", status);
    kill(-child, SIGKILL);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int exec_helper(int argc, char **argv);

/* Whoever started us may have had signals ignored or blocked (nohup, a shell's background job): begin like pid 1. */
static void default_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The C library keeps some for itself, so the system call. */
    unsigned long action[4] = {0};
    for (int s = 1; s < NSIG; s++)
        syscall(SYS_rt_sigaction, s, action, NULL, 8);
}

/* Takes more memory than there is, in a child. */
static int run_out_of_memory(void) {
    pid_t child = MUST(fork());
    if (child == 0) {
        size_t size = 1UL << 32;
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MUST(p == MAP_FAILED ? -1 : 0);
        for (size_t at = 0; at < size; at += 4096)
            p[at] = 1;
        _exit(0);
    }
    reap("child", child);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--out-of-memory") == 0)
        return run_out_of_memory();
    if (argc > 1 && strcmp(argv[1], "--helper") == 0)
        return exec_helper(argc, argv);
    qsort(cases, case_count, sizeof *cases, by_name);
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < case_count; i++)
            say("%s\n", cases[i].name);
        return 0;
    }
    mkdir("/tmp", 01777);
    umask(022);
    default_signals();
    for (int i = 0; i < case_count; i++) {
        int wanted = argc <= 1;
        for (int j = 1; j < argc; j++)
            wanted |= strncmp(cases[i].name, argv[j], strlen(argv[j])) == 0;
        if (wanted)
            run_case(i);
    }
    say("== end\n");
    return 0;
}
