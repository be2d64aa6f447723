/* fork(2), wait(2), execve(2), and what a process inherits. */
#include "abi.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

extern char **environ;

/* What `abi --helper ...` does: the program that the exec cases run. */
int exec_helper(int argc, char **argv) {
    say("arguments:");
    for (int i = 2; i < argc; i++)
        say(" [%s]", argv[i]);
    say("\nenvironment:");
    for (char **e = environ; *e; e++)
        say(" [%s]", *e);
    say("\n");
    if (argc > 2 && strcmp(argv[2], "fds") == 0)
        for (int fd = 3; fd < 10; fd++)
            if (fcntl(fd, F_GETFD) != -1)
                say("open: %d\n", fd);
    if (argc > 2 && strcmp(argv[2], "signals") == 0) {
        static const int signals[] = {SIGUSR1, SIGUSR2, SIGHUP};
        sigset_t blocked, pending;
        sigprocmask(SIG_BLOCK, 0, &blocked);
        sigpending(&pending);
        for (int i = 0; i < 3; i++) {
            struct sigaction act;
            sigaction(signals[i], 0, &act);
            say("SIG%s: %s, blocked %d, pending %d\n", sigabbrev_np(signals[i]),
                act.sa_handler == SIG_DFL   ? "default"
                : act.sa_handler == SIG_IGN ? "ignored"
                                            : "caught",
                sigismember(&blocked, signals[i]), sigismember(&pending, signals[i]));
        }
    }
    return 42;
}

static char self_path[] = "/proc/self/exe";

/* Runs this program again in a child. */
static void exec_self(char *const argv[], char *const env[]) {
    pid_t child = MUST(fork());
    if (child == 0) {
        R(execve(self_path, argv, env));
        _exit(1);
    }
    reap("child", child);
}

CASE(process_wait_statuses) {
    static const int codes[] = {0, 1, 42, 255, 256, -1};
    for (int i = 0; i < 6; i++) {
        pid_t child = MUST(fork());
        if (child == 0)
            exit(codes[i]);
        reap("exit", child);
    }
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM, SIGQUIT};
    for (int i = 0; i < 7; i++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            kill(getpid(), signals[i]);
            _exit(0);
        }
        int status;
        MUST(waitpid(child, &status, 0));
        say("signal %d, core %d\n", WTERMSIG(status), signals[i] == SIGQUIT ? -1 : WCOREDUMP(status));
    }
}

CASE(process_wait_choices) {
    int status;
    R(wait(&status));
    R(waitpid(1 << 22, &status, 0));
    R(waitpid(-1, &status, 0x40));
    pid_t slow = MUST(fork());
    if (slow == 0) {
        pause();
        _exit(0);
    }
    pid_t quick = MUST(fork());
    if (quick == 0)
        _exit(9);
    R(waitpid(slow, &status, WNOHANG));
    R(wait(&status) == quick);
    say_status("quick", status);
    R(waitpid(quick, &status, 0));
    siginfo_t info;
    memset(&info, 'x', sizeof info);
    R(waitid(P_PID, slow, &info, WEXITED | WNOHANG));
    say("nothing: %d %d\n", info.si_pid, info.si_signo);
    kill(slow, SIGTERM);
    R(waitid(P_PID, slow, &info, WEXITED | WNOWAIT));
    say("code %d, status %d, right one %d\n", info.si_code, info.si_status, info.si_pid == slow);
    R(waitid(P_ALL, 0, &info, WEXITED));
    R(waitid(P_ALL, 0, &info, WEXITED));
    R(waitid(P_PID, slow, &info, 0));
    R(waitpid(0, &status, WNOHANG));
}

CASE(process_groups) {
    R(getpgrp() == getpid());
    R(setsid());
    pid_t child = MUST(fork());
    if (child == 0) {
        R(getpgrp() == getppid());
        R(setpgid(0, 0));
        R(getpgrp() == getpid());
        R(setsid());
        _exit(0);
    }
    reap("child", child);
    child = MUST(fork());
    if (child == 0) {
        R(setsid() == getpid());
        R(getsid(0) == getpid());
        R(getpgid(0) == getpid());
        R(setpgid(0, 0));
        _exit(0);
    }
    reap("session leader", child);
    R(getpgid(1 << 22));
    R(getsid(1 << 22));
    R(setpgid(1 << 22, 0));
    R(setpgid(0, -1));
    pid_t one = MUST(fork());
    if (one == 0) {
        pause();
        _exit(0);
    }
    R(setpgid(one, one));
    pid_t two = MUST(fork());
    if (two == 0) {
        setpgid(0, one);
        pause();
        _exit(0);
    }
    R(setpgid(two, one));
    R(kill(-one, SIGTERM));
    int status;
    R(waitpid(-one, &status, 0) > 0);
    say_status("member", status);
    R(waitpid(-one, &status, 0) > 0);
    say_status("member", status);
    R(waitpid(-one, &status, 0));
}

CASE(process_orphans) {
    int p[2];
    MUST(pipe(p));
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t middle = MUST(fork());
    if (middle == 0) {
        if (fork() == 0) {
            sleep_ms(30);
            char c = getppid() == (pid_t)0 ? '0' : 'p';
            MUST(write(p[1], &c, 1));
            _exit(17);
        }
        _exit(0);
    }
    reap("middle", middle);
    close(p[1]);
    char c;
    R(read(p[0], &c, 1));
    int status;
    R(wait(&status) > 0);
    say_status("orphan", status);
}

CASE(process_exec) {
    char *argv[] = {"abi", "--helper", "one", "", "three words here", 0};
    char *env[] = {"A=1", "EMPTY=", 0};
    exec_self(argv, env);
    char *none[] = {0};
    exec_self(argv, none);
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = MUST(open("/dev/null", O_RDONLY | (i == 1 ? O_CLOEXEC : 0)));
    say("descriptors %d %d %d\n", fds[0], fds[1], fds[2]);
    argv[2] = "fds";
    argv[3] = 0;
    exec_self(argv, none);
}

static void caught(int signal) {
    (void)signal;
}

CASE(process_exec_signals) {
    char *argv[] = {"abi", "--helper", "signals", 0}, *env[] = {0};
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, caught);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    sigprocmask(SIG_BLOCK, &s, 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        raise(SIGHUP);
        execve(self_path, argv, env);
        _exit(1);
    }
    reap("child", child);
}

CASE(process_exec_errors) {
    char *argv[] = {"x", 0}, *env[] = {0};
    R(execve("missing", argv, env));
    R(execve(".", argv, env));
    R(execve("", argv, env));
    int fd = MUST(open("text", O_CREAT | O_WRONLY, 0600));
    R(execve("text", argv, env));
    MUST(fchmod(fd, 0755));
    close(fd);
    R(execve("text", argv, env));
    fd = MUST(open("text", O_WRONLY));
    MUST(write(fd, "just text, no program\n", 22));
    close(fd);
    R(execve("text", argv, env));
    R(execve("text/x", argv, env));
    R(execve((char *)8, argv, env));
    R(execve("text", (char **)8, env));
    MUST(symlink("loop", "loop"));
    R(execve("loop", argv, env));
    fd = MUST(open("script", O_CREAT | O_WRONLY, 0755));
    MUST(write(fd, "#!/missing/interpreter\n", 23));
    close(fd);
    R(execve("script", argv, env));
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    argv[0] = big;
    R(execve(self_path, argv, env));
}

CASE(process_exec_script) {
    char line[64], self[256] = {0};
    MUST(readlink(self_path, self, sizeof self - 1));
    int fd = MUST(open("script", O_CREAT | O_WRONLY, 0755));
    MUST(symlink(self, "interpreter"));
    int n = snprintf(line, sizeof line, "#!interpreter  --helper \nrest\n");
    MUST(write(fd, line, n));
    close(fd);
    pid_t child = MUST(fork());
    if (child == 0) {
        char *argv[] = {"ignored", "argument", 0}, *env[] = {"E=1", 0};
        R(execve("./script", argv, env));
        _exit(1);
    }
    reap("child", child);
}

/* exec from a thread that is not the first: the process keeps its id and has one thread. */
static pid_t expected;

static void *exec_from_thread(void *arg) {
    char id[16];
    (void)arg;
    snprintf(id, sizeof id, "%d", getpid() == expected);
    char *argv[] = {"abi", "--helper", "thread", id, 0}, *env[] = {0};
    execve(self_path, argv, env);
    _exit(1);
}

static void *wait_forever(void *arg) {
    for (;;)
        pause();
    return arg;
}

CASE(process_exec_from_thread) {
    pid_t child = MUST(fork());
    if (child == 0) {
        expected = getpid();
        pthread_t t;
        for (int i = 0; i < 3; i++)
            pthread_create(&t, 0, wait_forever, 0);
        pthread_create(&t, 0, exec_from_thread, 0);
        pthread_join(t, 0);
        _exit(2);
    }
    reap("child", child);
}

static void *exit_all(void *arg) {
    (void)arg;
    exit(6);
}

static void *abort_all(void *arg) {
    (void)arg;
    abort();
}

static void *end_alone(void *arg) {
    sleep_ms(20);
    say("the last thread\n");
    return arg;
}

CASE(process_threads_end) {
    pthread_t t;
    pid_t child = MUST(fork());
    if (child == 0) {
        pthread_create(&t, 0, wait_forever, 0);
        pthread_create(&t, 0, exit_all, 0);
        pause();
    }
    reap("exit of one thread", child);
    child = MUST(fork());
    if (child == 0) {
        pthread_create(&t, 0, wait_forever, 0);
        pthread_create(&t, 0, abort_all, 0);
        pause();
    }
    reap("abort in one thread", child);
    child = MUST(fork());
    if (child == 0) {
        pthread_create(&t, 0, end_alone, 0);
        pthread_exit(0);
    }
    reap("first thread ends first", child);
}

static int from_vfork;

CASE(process_vfork) {
    volatile int here = 1;
    pid_t child = vfork();
    if (child == 0) {
        here = from_vfork = 2;
        _exit(3);
    }
    say("shared memory: %d %d\n", here, from_vfork);
    reap("child", child);
    child = vfork();
    if (child == 0) {
        char *argv[] = {"abi", "--helper", "vfork", 0}, *env[] = {0};
        execve(self_path, argv, env);
        _exit(1);
    }
    reap("exec", child);
}

CASE(process_inherits) {
    MUST(mkdir("sub", 0700));
    MUST(chdir("sub"));
    umask(027);
    MUST(prctl(PR_SET_NAME, "a rather long name"));
    struct rlimit l = {100, 200};
    MUST(setrlimit(RLIMIT_NOFILE, &l));
    MUST(setpriority(PRIO_PROCESS, 0, 5) == 0 ? 0 : 0);
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        char name[17] = {0}, cwd[256];
        R(getppid() == parent);
        MUST(prctl(PR_GET_NAME, name));
        MUST(getcwd(cwd, sizeof cwd) ? 0 : -1);
        getrlimit(RLIMIT_NOFILE, &l);
        say("name %s, directory %s, umask %o, limit %lu %lu\n", name, strrchr(cwd, '/'), umask(0),
            (unsigned long)l.rlim_cur, (unsigned long)l.rlim_max);
        int fd, last = -1;
        while ((fd = open("/dev/null", O_RDONLY)) != -1)
            last = fd;
        say("last descriptor %d, then %s\n", last, strerrorname_np(errno));
        l.rlim_cur = 300;
        R(setrlimit(RLIMIT_NOFILE, &l));
        R(getrlimit(99, &l));
        R(dup2(0, 100));
        R(dup2(0, 99));
        R(fcntl(0, F_DUPFD, 100));
        _exit(0);
    }
    reap("child", child);
}

CASE(process_identity) {
    struct utsname u;
    R(uname(&u));
    say("%s %s\n", u.sysname, u.machine);
    R(getpid() == gettid());
    R(getuid() == geteuid());
    R(getgid() == getegid());
    R(syscall(SYS_uname, (void *)8));
    R(syscall(9999));
    R(syscall(-1));
    cpu_set_t cpus;
    R(sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= 1);
    R(sched_getaffinity(1 << 22, sizeof cpus, &cpus));
    R(syscall(SYS_sched_getaffinity, 0, 4, &cpus));
    unsigned char bytes[64] = {0};
    R(syscall(SYS_getrandom, bytes, sizeof bytes, 0));
    int nonzero = 0;
    for (int i = 0; i < 64; i++)
        nonzero += bytes[i] != 0;
    say("random: %d\n", nonzero > 32);
    R(syscall(SYS_getrandom, bytes, 1, 0x100));
    R(syscall(SYS_getrandom, (void *)8, 1, 0));
}

/* Many children at once, each with its own memory. */
CASE(process_many_children) {
    enum { COUNT = 40 };
    static int value;
    int p[2], sum = 0;
    MUST(pipe(p));
    for (int i = 0; i < COUNT; i++)
        if (MUST(fork()) == 0) {
            value += i;
            MUST(write(p[1], &value, sizeof value));
            _exit(i);
        }
    for (int i = 0; i < COUNT; i++) {
        int v;
        MUST(read(p[0], &v, sizeof v));
        sum += v;
    }
    int exits = 0, status, ended = 0;
    while (wait(&status) > 0) {
        exits += WEXITSTATUS(status);
        ended++;
    }
    say("sum %d, exits %d, ended %d, here %d\n", sum, exits, ended, value);
}
