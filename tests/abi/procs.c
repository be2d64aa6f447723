/* /proc as programs read it: proc(5). */
#include "abi.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static char text[65536];

static long slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    long size = 0, n;
    while ((n = read(fd, text + size, sizeof text - 1 - size)) > 0)
        size += n;
    text[size] = 0;
    close(fd);
    return size;
}

/* Writes a line of a text that begins so, as it is. */
static void line(const char *start) {
    for (char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, start, strlen(start)) == 0) {
            say("%.*s\n", (int)strcspn(at, "\n"), at);
            return;
        }
    say("%s: missing\n", start);
}

static long value_of(const char *key) {
    char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

CASE(procs_status) {
    OK(slurp("/proc/self/status"));
    line("Name:");
    line("Umask:");
    line("State:");
    say("%d %d %d\n", value_of("\nTgid:") == getpid(), value_of("\nPid:") == getpid(), value_of("\nPPid:") == getppid());
    line("Uid:");
    line("Gid:");
    line("Threads:");
    say("size %d rss %d peak %d\n", value_of("\nVmSize:") > 0, value_of("\nVmRSS:") > 0, value_of("\nVmPeak:") > 0);
    line("SigPnd:");
    line("SigBlk:");
    line("SigIgn:");
    line("SigCgt:");
    line("NoNewPrivs:");
    signal(SIGUSR1, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR2);
    OK(slurp("/proc/self/status"));
    line("ShdPnd:");
    line("SigBlk:");
    line("SigIgn:");
}

CASE(procs_stat) {
    OK(slurp("/proc/self/stat"));
    char *end = strrchr(text, ')');
    say("pid %d name %d\n", atoi(text) == getpid(), strstr(text, "(abi)") != NULL);
    char state;
    int parent, group, session, terminal;
    int got = sscanf(end + 2, "%c %d %d %d %d", &state, &parent, &group, &session, &terminal);
    say("%d fields, state %c, parent %d group %d session %d\n", got, state, parent == getppid(), group == getpgrp(),
        session == getsid(0));
    int fields = 2;
    for (char *at = end + 1; *at; at++)
        fields += *at == ' ';
    say("fields %d\n", fields);
    OK(slurp("/proc/self/statm"));
    int numbers = 0;
    for (char *at = strtok(text, " \n"); at; at = strtok(NULL, " \n"))
        numbers++;
    say("statm %d\n", numbers);
}

CASE(procs_links) {
    char link[256];
    chdir("/");
    long n = readlink("/proc/self/cwd", link, sizeof link);
    say("%.*s\n", (int)n, link);
    n = readlink("/proc/self/root", link, sizeof link);
    say("%.*s\n", (int)n, link);
    n = readlink("/proc/self", link, sizeof link - 1);
    link[n > 0 ? n : 0] = 0;
    say("self %d\n", n > 0 && atol(link) == getpid());
    int fd = MUST(open("/dev/null", O_RDWR)), pipes[2];
    MUST(pipe(pipes));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof link);
    say("%.*s\n", (int)n, link);
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipes[0]);
    n = readlink(path, link, sizeof link);
    say("pipe %d\n", n > 6 && strncmp(link, "pipe:[", 6) == 0);
    R(readlink("/proc/self/fd/999", link, sizeof link));
    R(readlink("/proc/4000000/cwd", link, sizeof link));
    struct stat st;
    R(lstat(path, &st));
    say("%o\n", st.st_mode);
    R(stat(path, &st));
    say("%o\n", st.st_mode & S_IFMT);
}

CASE(procs_directories) {
    static const char *paths[] = {"/proc/self/fd", "/proc/self/task", "/proc/self"};
    for (int i = 0; i < 3; i++) {
        DIR *d = opendir(paths[i]);
        int entries = 0, own = 0;
        struct dirent *e;
        while (d && (e = readdir(d))) {
            entries++;
            own |= atoi(e->d_name) == getpid();
        }
        say("%s: %s own %d\n", paths[i], entries > 2 ? "entries" : "none", own && i == 1);
        if (d)
            closedir(d);
    }
    R(mkdir("/proc/new", 0700));
    R(open("/proc/new", O_CREAT | O_RDWR, 0600));
    R(unlink("/proc/uptime"));
    R(access("/proc/self/exe", R_OK));
}

CASE(procs_maps) {
    OK(slurp("/proc/self/maps"));
    say("heap %d stack %d vdso %d\n", strstr(text, "[heap]") != NULL, strstr(text, "[stack]") != NULL,
        strstr(text, "[vdso]") != NULL);
    char *p = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE));
    OK(slurp("/proc/self/maps"));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%lx-%lx rw-p 00000000 00:00 0", (long)p + 4096, (long)p + 8192);
    say("middle %d\n", strstr(text, wanted) != NULL);
    int fd = MUST(open("f", O_CREAT | O_RDWR, 0600));
    MUST(ftruncate(fd, 8192));
    char *q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    OK(slurp("/proc/self/maps"));
    snprintf(wanted, sizeof wanted, "%lx-%lx r--s 00001000", (long)q, (long)q + 4096);
    char *at = strstr(text, wanted);
    say("file %d named %d\n", at != NULL, at && memcmp(strchr(at, '\n') - 2, "/f", 2) == 0);
}

CASE(procs_system_texts) {
    double up, idle;
    OK(slurp("/proc/uptime"));
    say("uptime %d\n", sscanf(text, "%lf %lf", &up, &idle));
    double a, b, c;
    int running, total, last;
    OK(slurp("/proc/loadavg"));
    say("loadavg %d\n", sscanf(text, "%lf %lf %lf %d/%d %d", &a, &b, &c, &running, &total, &last));
    OK(slurp("/proc/meminfo"));
    say("memory %d\n", value_of("MemTotal:") > 0 && value_of("MemFree:") > 0 && value_of("MemAvailable:") > 0 &&
                           value_of("SwapTotal:") >= 0 && value_of("Cached:") >= 0 && value_of("Buffers:") >= 0);
    OK(slurp("/proc/stat"));
    say("stat %d cpu0 %d btime %d\n", strncmp(text, "cpu  ", 5) == 0, strstr(text, "\ncpu0 ") != NULL,
        value_of("\nbtime") > 0);
    OK(slurp("/proc/cpuinfo"));
    say("cpuinfo %d\n", strstr(text, "processor\t: 0") != NULL && strstr(text, "model name\t") != NULL &&
                            strstr(text, "\nflags\t\t: ") != NULL);
    OK(slurp("/proc/version"));
    say("version %d\n", strncmp(text, "Linux version ", 14) == 0);
    OK(slurp("/proc/filesystems"));
    say("filesystems %d\n", strstr(text, "nodev\tproc") != NULL && strstr(text, "nodev\ttmpfs") != NULL);
    OK(slurp("/proc/mounts"));
    say("mounts %d\n", strstr(text, " /proc proc ") != NULL);
    OK(slurp("/proc/self/mountinfo"));
    say("mountinfo %d\n", strstr(text, " / /proc ") != NULL && strstr(text, " - proc ") != NULL);
    OK(slurp("/proc/self/cgroup"));
    say("cgroup %d\n", strchr(text, ':') != NULL);
    OK(slurp("/proc/sys/kernel/hostname"));
    char host[65];
    gethostname(host, sizeof host);
    say("hostname %d\n", strncmp(text, host, strlen(host)) == 0);
    OK(slurp("/proc/sys/kernel/pid_max"));
    say("pid_max %d\n", atoi(text) >= 32768);
    OK(slurp("/proc/sys/fs/file-max"));
    OK(slurp("/proc/sys/fs/nr_open"));
    OK(slurp("/proc/sys/vm/overcommit_memory"));
    OK(slurp("/proc/sys/kernel/random/boot_id"));
    say("boot id %zu\n", strlen(text));
    OK(slurp("/proc/sys/kernel/random/uuid"));
    say("uuid %zu\n", strlen(text));
    OK(slurp("/proc/sys/kernel/ostype"));
    say("%s", text);
    OK(slurp("/proc/sys/kernel/osrelease"));
    OK(slurp("/proc/sys/net/core/somaxconn"));
    OK(slurp("/proc/sys/kernel/threads-max"));
}

/* How the network works. Some a machine may have changed: of those only whether they make sense. */
CASE(procs_sys_net) {
    static const char *const same[] = {"ipv4/ip_default_ttl", "ipv4/ip_nonlocal_bind", "ipv4/tcp_sack",
                                       "ipv4/tcp_timestamps", "ipv4/tcp_window_scaling", "ipv4/tcp_moderate_rcvbuf",
                                       "ipv6/bindv6only", "ipv6/conf/all/disable_ipv6"};
    static const struct {
        const char *name;
        int numbers;
    } like[] = {{"core/rmem_default", 1},       {"core/rmem_max", 1},         {"core/wmem_default", 1},
                {"core/wmem_max", 1},           {"core/somaxconn", 1},        {"ipv4/ip_forward", 1},
                {"ipv4/ip_local_port_range", 2}, {"ipv4/tcp_rmem", 3},        {"ipv4/tcp_wmem", 3},
                {"ipv4/tcp_ecn", 1},            {"ipv4/tcp_fastopen", 1},     {"ipv4/tcp_fin_timeout", 1},
                {"ipv4/tcp_keepalive_time", 1}, {"ipv4/tcp_keepalive_intvl", 1}, {"ipv4/tcp_keepalive_probes", 1},
                {"ipv4/tcp_syn_retries", 1},    {"ipv4/tcp_syncookies", 1},   {"ipv4/ip_unprivileged_port_start", 1}};
    char path[100];
    for (size_t n = 0; n < sizeof same / sizeof *same; n++) {
        snprintf(path, sizeof path, "/proc/sys/net/%s", same[n]);
        OK(slurp(path));
        say("%s %s", same[n], text);
    }
    for (size_t n = 0; n < sizeof like / sizeof *like; n++) {
        long a, b, c;
        snprintf(path, sizeof path, "/proc/sys/net/%s", like[n].name);
        OK(slurp(path));
        say("%s %d\n", like[n].name, sscanf(text, "%ld\t%ld\t%ld", &a, &b, &c) == like[n].numbers);
    }
    OK(slurp("/proc/sys/net/ipv4/tcp_available_congestion_control"));
    say("reno %d cubic %d\n", strstr(text, "reno") != NULL, strstr(text, "cubic") != NULL);
    OK(slurp("/proc/sys/net/ipv4/tcp_congestion_control"));
    say("one %d\n", strchr(text, ' ') == NULL && strlen(text) > 1);
}

CASE(procs_own_texts) {
    OK(slurp("/proc/self/cmdline"));
    say("cmdline %d\n", strstr(text, "abi") != NULL);
    OK(slurp("/proc/self/comm"));
    say("%s", text);
    OK(slurp("/proc/self/limits"));
    line("Limit ");
    line("Max core file size");
    line("Max stack size");
    OK(slurp("/proc/self/environ"));
    OK(slurp("/proc/self/oom_score_adj"));
    say("%s", text);
    OK(slurp("/proc/self/oom_score"));
    say("score %d\n", atoi(text) >= 666 && atoi(text) < 700);
    OK(slurp("/proc/self/wchan"));
    say("wchan '%s'\n", text);
    OK(slurp("/proc/self/auxv"));
    int fd = MUST(open("/proc/self/stat", O_RDONLY));
    char a[8] = {0}, b[8] = {0};
    R(read(fd, a, 4));
    R(lseek(fd, 0, SEEK_SET));
    R(read(fd, b, 4));
    say("again %d\n", strcmp(a, b) == 0);
    R(pread(fd, b, 4, 1) > 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    OK(slurp(path));
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    OK(slurp(path));
    R(slurp("/proc/4000000/stat"));
}

CASE(procs_zombie) {
    pid_t child = MUST(fork());
    if (child == 0) {
        prctl(PR_SET_NAME, "late");
        _exit(3);
    }
    siginfo_t info;
    MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    OK(slurp(path));
    say("state %c\n", strrchr(text, ')')[2]);
    *strrchr(text, ')') = 0;
    say("name %s\n", strchr(text, '(') + 1);
    snprintf(path, sizeof path, "/proc/%d/comm", child);
    say("comm %s", slurp(path) > 0 ? text : "?\n");
    snprintf(path, sizeof path, "/proc/%d/cmdline", child);
    R(slurp(path));
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    R(slurp(path));
    snprintf(path, sizeof path, "/proc/%d/status", child);
    OK(slurp(path));
    say("umask %d size %d\n", strstr(text, "\nUmask:") != NULL, strstr(text, "\nVmSize:") != NULL);
    char link[128];
    for (const char **name = (const char *[]){"cwd", "root", "exe", NULL}; *name; name++) {
        snprintf(path, sizeof path, "/proc/%d/%s", child, *name);
        R(readlink(path, link, sizeof link));
    }
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    reap("child", child);
    R(slurp(path));
}

CASE(procs_of_a_child) {
    int pipes[2];
    MUST(pipe(pipes));
    pid_t child = MUST(fork());
    if (child == 0) {
        char c;
        read(pipes[0], &c, 1);
        _exit(0);
    }
    char path[64], link[128];
    snprintf(path, sizeof path, "/proc/%d/status", child);
    OK(slurp(path));
    say("parent %d\n", value_of("\nPPid:") == getpid());
    snprintf(path, sizeof path, "/proc/%d/fd/%d", child, pipes[0]);
    say("pipe %d\n", readlink(path, link, sizeof link) > 0 && strncmp(link, "pipe:[", 6) == 0);
    int again = open(path, O_RDONLY | O_NONBLOCK);
    say("opened %d\n", again >= 0);
    snprintf(path, sizeof path, "/proc/%d/exe", child);
    say("exe %d\n", readlink(path, link, sizeof link) > 0);
    MUST(write(pipes[1], "x", 1));
    reap("child", child);
}
