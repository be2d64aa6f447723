/* Children: waitid(2), wait4(2), SIGCHLD and who is told what. */
#include "abi.h"

#include <sys/prctl.h>
#include <sys/resource.h>

static void say_info(siginfo_t *info, pid_t child) {
    say("signal %d code %d status %d child %d uid %d\n", info->si_signo, info->si_code, info->si_status,
        info->si_pid == child, info->si_uid);
}

CASE(waits_waitid) {
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(3);
    siginfo_t info = {0};
    R(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    say_info(&info, child);
    memset(&info, 0, sizeof info);
    R(waitid(P_ALL, 0, &info, WEXITED));
    say_info(&info, child);
    R(waitid(P_PID, child, &info, WEXITED));
    R(waitid(P_ALL, 0, &info, WEXITED));
    R(waitid(P_ALL, 0, &info, 0));
    R(waitid(P_ALL, 0, &info, WNOHANG));
    R(waitid(P_PID, 0, &info, WEXITED));
    R(waitid(P_PID, -5, &info, WEXITED));
    R(waitid(9, 0, &info, WEXITED));
    R(waitid(P_ALL, 0, &info, WEXITED | 0x10000));
    R(waitid(P_PGID, 0, &info, WEXITED));
}

CASE(waits_waitid_kinds) {
    pid_t child = MUST(fork());
    if (child == 0) {
        raise(SIGSTOP);
        raise(SIGKILL);
    }
    siginfo_t info = {0};
    R(waitid(P_PID, child, &info, WEXITED | WSTOPPED));
    say_info(&info, child);
    memset(&info, 0xff, sizeof info);
    R(waitid(P_PID, child, &info, WEXITED | WSTOPPED | WNOHANG));
    say("pid %d signo %d\n", info.si_pid, info.si_signo);
    MUST(kill(child, SIGCONT));
    memset(&info, 0, sizeof info);
    R(waitid(P_PID, child, &info, WEXITED));
    say_info(&info, child);
    child = MUST(fork());
    if (child == 0)
        for (;;)
            pause();
    MUST(kill(child, SIGSTOP));
    R(waitid(P_PID, child, &info, WSTOPPED));
    MUST(kill(child, SIGCONT));
    R(waitid(P_PID, child, &info, WCONTINUED));
    say_info(&info, child);
    MUST(kill(child, SIGSEGV));
    R(waitid(P_PID, child, &info, WEXITED));
    say("code %d status %d\n", info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED, info.si_status);
    child = MUST(fork());
    if (child == 0)
        _exit(0);
    R(waitid(P_ALL, 0, NULL, WEXITED));
}

CASE(waits_no_zombies) {
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    MUST(sigaction(SIGCHLD, &action, NULL));
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(1);
    int status;
    R(waitpid(child, &status, 0));
    signal(SIGCHLD, SIG_IGN);
    child = MUST(fork());
    if (child == 0) {
        sleep_ms(30);
        _exit(1);
    }
    R(wait(&status));
    R(kill(child, 0));
    signal(SIGCHLD, SIG_DFL);
    child = MUST(fork());
    if (child == 0)
        _exit(4);
    reap("an ordinary one", child);
}

static volatile int told;
static volatile int told_code;

static void on_child(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    told++;
    told_code = info->si_code;
}

CASE(waits_sigchld) {
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(SIGCHLD, &action, NULL));
    pid_t child = MUST(fork());
    if (child == 0)
        for (;;)
            pause();
    MUST(kill(child, SIGSTOP));
    int status;
    R(waitpid(child, &status, WUNTRACED) == child);
    say_status("child", status);
    while (told < 1)
        sleep_ms(1);
    say("told %d code %d\n", told, told_code);
    action.sa_flags |= SA_NOCLDSTOP;
    MUST(sigaction(SIGCHLD, &action, NULL));
    MUST(kill(child, SIGCONT));
    R(waitpid(child, &status, WCONTINUED) == child);
    say_status("child", status);
    sleep_ms(30);
    say("told %d\n", told);
    MUST(kill(child, SIGTERM));
    reap("child", child);
    while (told < 2)
        sleep_ms(1);
    say("told %d code %d\n", told, told_code);
    action.sa_flags = SA_SIGINFO | SA_NOCLDWAIT;
    MUST(sigaction(SIGCHLD, &action, NULL));
    child = MUST(fork());
    if (child == 0)
        _exit(0);
    while (told < 3)
        sleep_ms(1);
    R(waitpid(child, &status, 0));
}

CASE(waits_exit_signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    pid_t child = MUST(syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0));
    if (child == 0)
        _exit(6);
    siginfo_t info;
    R(sigwaitinfo(&set, &info) == SIGUSR1);
    say("status %d code %d\n", info.si_status, info.si_code);
    int status;
    R(waitpid(child, &status, WNOHANG));
    R(waitpid(child, &status, __WCLONE) == child);
    say_status("clone", status);
    child = MUST(syscall(SYS_clone, 0, 0, 0, 0, 0));
    if (child == 0)
        _exit(7);
    R(waitpid(child, &status, __WALL) == child);
    say_status("silent", status);
}

/* A sibling announces itself as its maker does, whatever signal the call names, and stays in its maker's group. */
CASE(waits_sibling) {
    int ends[2], status;
    MUST(pipe(ends));
    pid_t child = MUST(fork());
    if (child == 0) {
        setpgid(0, 0);
        pid_t sibling = syscall(SYS_clone, CLONE_PARENT | SIGUSR1, 0, 0, 0, 0);
        if (sibling == 0)
            _exit(getpgrp() == getpid() ? 7 : getppid() == getpgrp() ? 6 : 8);
        (void)!write(ends[1], &sibling, sizeof sibling);
        waitpid(sibling, &status, 0);
        _exit(errno == ECHILD ? 9 : 10);
    }
    reap("maker", child);
    pid_t sibling = 0;
    R(read(ends[0], &sibling, sizeof sibling));
    R(waitpid(-1, &status, 0) == sibling);
    say_status("sibling", status);
}

CASE(waits_usage) {
    pid_t child = MUST(fork());
    if (child == 0) {
        for (volatile long i = 0; i < 30000000; i++)
            ;
        _exit(0);
    }
    struct rusage usage = {0}, all = {0};
    int status;
    R(wait4(child, &status, 0, &usage) == child);
    say("used %d\n", usage.ru_utime.tv_sec + usage.ru_utime.tv_usec > 0);
    R(getrusage(RUSAGE_CHILDREN, &all));
    say("children's %d\n", all.ru_utime.tv_sec * 1000000 + all.ru_utime.tv_usec >=
                               usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec);
    R(getrusage(2, &all));
    R(getrusage(RUSAGE_SELF, (void *)8));
    R(syscall(SYS_wait4, -1, 0, 0x10000, 0));
    R(syscall(SYS_wait4, INT32_MIN, 0, 0, 0));
}

CASE(waits_groups) {
    pid_t a = MUST(fork());
    if (a == 0)
        _exit(1);
    pid_t b = MUST(fork());
    if (b == 0) {
        sleep_ms(20);
        _exit(2);
    }
    MUST(setpgid(b, b));
    int status;
    R(waitpid(-b, &status, 0) == b);
    say_status("b", status);
    R(waitpid(-b, &status, 0));
    R(waitpid(0, &status, 0) == a);
    say_status("a", status);
    R(waitpid(0, &status, 0));
}

CASE(waits_subreaper) {
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int pipes[2];
    MUST(pipe(pipes));
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t grandchild = MUST(fork());
        if (grandchild == 0) {
            while (getppid() == child)
                sleep_ms(5);
            sleep_ms(30);
            _exit(8);
        }
        MUST(write(pipes[1], &grandchild, sizeof grandchild));
        _exit(0);
    }
    pid_t grandchild;
    MUST(read(pipes[0], &grandchild, sizeof grandchild));
    reap("child", child);
    reap("grandchild", grandchild);
    int reaper = -1;
    R(prctl(PR_GET_CHILD_SUBREAPER, &reaper));
    say("%d\n", reaper);
}

CASE(waits_parent_death) {
    int pipes[2];
    MUST(pipe(pipes));
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t grandchild = MUST(fork());
        if (grandchild == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, NULL);
            R(prctl(PR_SET_PDEATHSIG, SIGUSR1));
            int signal = 0;
            R(prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == SIGUSR1);
            MUST(write(pipes[1], "r", 1));
            _exit(sigwaitinfo(&set, NULL));
        }
        char c;
        MUST(read(pipes[0], &c, 1));
        _exit(0);
    }
    reap("child", child);
    int status;
    MUST(wait(&status));
    say_status("grandchild", status);
    R(prctl(PR_SET_PDEATHSIG, 65));
}

CASE(waits_orphaned_group) {
    /* A stopped group that becomes orphaned is hung up and continued. */
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t child = MUST(fork());
    if (child == 0) {
        MUST(setsid());
        pid_t grandchild = MUST(fork());
        if (grandchild == 0) {
            MUST(setpgid(0, 0));
            raise(SIGSTOP);
            _exit(0);
        }
        int status;
        MUST(waitpid(grandchild, &status, WUNTRACED));
        say_status("grandchild", status);
        _exit(0);
    }
    reap("child", child);
    int status;
    MUST(wait(&status));
    say_status("grandchild", status);
}

CASE(waits_kill_and_group) {
    pid_t a = MUST(fork());
    if (a == 0) {
        setpgid(0, 0);
        for (;;)
            pause();
    }
    setpgid(a, a);
    pid_t b = MUST(fork());
    if (b == 0)
        for (;;)
            pause();
    R(setpgid(b, a));
    R(getpgid(b) == a);
    R(kill(-a, 0));
    R(kill(-a, SIGUSR1));
    reap("a", a);
    reap("b", b);
    R(kill(-a, SIGUSR1));
    R(kill(a, 0));
    R(kill(getpid(), 65));
    R(kill(getpid(), -1));
}

static void *exit_thread(void *arg) {
    (void)arg;
    sleep_ms(20);
    syscall(SYS_exit, 9);
    return NULL;
}

CASE(waits_leader_leaves_first) {
    pid_t child = MUST(fork());
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, exit_thread, NULL);
        syscall(SYS_exit, 3);
    }
    int status;
    R(waitpid(child, &status, WNOHANG));
    reap("child", child);
}
