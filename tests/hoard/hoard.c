/* Makes objects of the kernel, of one kind after the other, until it makes no more: each kind must end with an error or
 * with the end of the hoarder, and whatever it held must be free again afterwards. Runs as the first process. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Objects made by all hoarders of the kind. */
static struct shared {
    unsigned long made, processes;
    int error;
} *shared;

/* Makes one object more; returns whether it could. */
typedef int maker(unsigned long n);

static int made(long result) {
    return result >= 0;
}

static int make_eventfd(unsigned long n) {
    return made(eventfd((unsigned)n, 0));
}

static int make_pipe(unsigned long n) {
    int p[2];
    (void)n;
    return made(pipe2(p, O_NONBLOCK)) && made(write(p[1], "x", 1));
}

static int make_full_pipe(unsigned long n) {
    static char block[65536];
    int p[2];
    (void)n;
    return made(pipe2(p, O_NONBLOCK)) && made(write(p[1], block, sizeof block));
}

static int make_timerfd(unsigned long n) {
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec at = {{0, 0}, {1000 + (long)n, 0}};
    return made(fd) && made(timerfd_settime(fd, 0, &at, 0));
}

static int make_signalfd(unsigned long n) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + (int)(n % 8));
    return made(signalfd(-1, &set, 0));
}

static int make_epoll(unsigned long n) {
    static int event, epoll;
    if (n % 1000 == 0) {
        event = eventfd(0, 0);
        epoll = epoll_create1(0);
    }
    struct epoll_event interest = {EPOLLIN, {.u64 = n}};
    int fd = dup(event);
    return made(fd) && made(epoll) && made(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest));
}

static int make_memfd(unsigned long n) {
    int fd = memfd_create("hoard", 0);
    (void)n;
    return made(fd) && made(ftruncate(fd, 1 << 20));
}

static int make_udp(unsigned long n) {
    (void)n;
    return made(socket(AF_INET, SOCK_DGRAM, 0));
}

static int make_tcp(unsigned long n) {
    (void)n;
    return made(socket(AF_INET6, SOCK_STREAM, 0));
}

/* Connections over loopback with as much in their queues as goes in. */
static int make_queue(unsigned long n) {
    static char block[65536];
    static int listener = -1;
    static pid_t owner;
    static struct sockaddr_in at;
    socklen_t len = sizeof at;
    (void)n;
    if (owner != getpid()) {
        owner = getpid();
        listener = socket(AF_INET, SOCK_STREAM, 0);
        at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 16) < 0)
            return 0;
        getsockname(listener, (struct sockaddr *)&at, &len);
    }
    int ours = socket(AF_INET, SOCK_STREAM, 0);
    /* Without memory nobody is let in. */
    struct timeval patience = {5, 0};
    if (ours < 0 || setsockopt(ours, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return 0;
    if (connect(ours, (struct sockaddr *)&at, sizeof at) < 0)
        return 0;
    int theirs = accept(listener, 0, 0);
    if (theirs < 0)
        return 0;
    for (int i = 0; i < 2; i++)
        while (send(i ? ours : theirs, block, sizeof block, MSG_DONTWAIT) > 0)
            ;
    return errno == EAGAIN;
}

/* Datagrams that nobody reads. */
static int make_datagrams(unsigned long n) {
    static char block[32768];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void)n;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0)
        return 0;
    getsockname(fd, (struct sockaddr *)&at, &len);
    for (int i = 0; i < 6; i++)
        sendto(fd, block, sizeof block, MSG_DONTWAIT, (struct sockaddr *)&at, len);
    return 1;
}

static int make_listener(unsigned long n) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)n;
    return made(fd) && made(listen(fd, 4096));
}

static int make_stream(unsigned long n) {
    static char block[4096];
    int p[2];
    (void)n;
    return made(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p)) && made(write(p[0], block, sizeof block));
}

/* Messages of one byte: as many as a socket takes, then another pair. */
static int make_messages(unsigned long n) {
    static int p[2] = {-1, -1};
    if (n % 64 == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, p) < 0)
        return 0;
    return made(send(p[0], "x", 1, 0)) || errno == EAGAIN;
}

/* Descriptors in flight. */
static int make_passed(unsigned long n) {
    static int p[2] = {-1, -1};
    if (n % 16 == 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p) < 0)
        return 0;
    int fds[64];
    int fd = eventfd(0, 0);
    if (fd < 0)
        return 0;
    for (int i = 0; i < 64; i++)
        fds[i] = fd;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {{CMSG_LEN(sizeof fds), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    struct iovec one = {"x", 1};
    struct msghdr message = {0, 0, &one, 1, &control, sizeof control, 0};
    int sent = made(sendmsg(p[0], &message, 0)) || errno == EAGAIN || errno == ETOOMANYREFS;
    close(fd);
    return sent;
}

static int make_proc_file(unsigned long n) {
    char c;
    int fd = open(n % 2 ? "/proc/self/maps" : "/proc/self/status", O_RDONLY);
    return made(fd) && made(read(fd, &c, 1));
}

static int make_open(unsigned long n) {
    (void)n;
    return made(open("/tmp", O_RDONLY | O_DIRECTORY));
}

static int make_lock(unsigned long n) {
    static int fd;
    if (n % 100 == 0) {
        char name[64];
        snprintf(name, sizeof name, "/tmp/h/%lu", n);
        fd = open(name, O_RDWR | O_CREAT, 0600);
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)n * 2, .l_len = 1};
    return made(fcntl(fd, F_SETLK, &lock));
}

static int make_file(unsigned long n) {
    char name[64];
    snprintf(name, sizeof name, "/tmp/h/%lu", n);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    return made(fd) && made(close(fd));
}

/* Long names of few files. */
static int make_link(unsigned long n) {
    char from[64], to[300];
    snprintf(from, sizeof from, "/tmp/h/f%lu", n / 1000);
    if (n % 1000 == 0)
        close(open(from, O_RDWR | O_CREAT, 0600));
    int at = snprintf(to, sizeof to, "/tmp/h/%lu", n);
    memset(to + at, 'x', 240);
    to[at + 240] = 0;
    return made(link(from, to));
}

static int make_symlink(unsigned long n) {
    static char target[4000];
    char name[64];
    memset(target, 't', sizeof target - 1);
    snprintf(name, sizeof name, "/tmp/h/%lu", n);
    return made(symlink(target, name));
}

static int make_attribute(unsigned long n) {
    static char value[60000];
    char name[64];
    snprintf(name, sizeof name, "/tmp/h/%lu", n);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    return made(fd) && made(fsetxattr(fd, "trusted.x", value, sizeof value, 0)) && made(close(fd));
}

static int make_mapping(unsigned long n) {
    return mmap(0, 4096, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int make_timer(unsigned long n) {
    timer_t timer;
    (void)n;
    return made(timer_create(CLOCK_MONOTONIC, 0, &timer));
}

static int make_signal(unsigned long n) {
    static int blocked;
    if (!blocked) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, 0);
        blocked = 1;
    }
    return made(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = (int)n}));
}

__attribute__((noreturn)) static void *sleep_for_ever(void *arg) {
    (void)arg;
    for (;;)
        pause();
}

static int make_thread(unsigned long n) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)n;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    errno = pthread_create(&thread, &attributes, sleep_for_ever, 0);
    return errno == 0;
}

/* Events that nobody reads, of some files each, for every watcher. */
static int make_events(unsigned long n) {
    char name[220];
    if (n % 64 == 0 && inotify_add_watch(inotify_init1(0), "/tmp/h", IN_ALL_EVENTS) < 0)
        return 0;
    snprintf(name, sizeof name, "/tmp/h/%0200lu", n);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    return made(fd) && made(close(fd)) && made(unlink(name));
}

/* Pairs with both sides full. */
static int make_pty(unsigned long n) {
    static char block[8192];
    int unlocked = 0;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
    (void)n;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return 0;
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
    return made(slave) && made(write(slave, block, sizeof block)) && made(write(master, block, sizeof block));
}

static int make_process(unsigned long n) {
    (void)n;
    pid_t pid = fork();
    if (pid == 0)
        sleep_for_ever(0);
    return made(pid);
}

static const struct {
    const char *name;
    maker *make;
} kinds[] = {
    {"eventfd", make_eventfd},
    {"pipe", make_pipe},
    {"full_pipe", make_full_pipe},
    {"timerfd", make_timerfd},
    {"signalfd", make_signalfd},
    {"epoll", make_epoll},
    {"memfd", make_memfd},
    {"udp", make_udp},
    {"tcp", make_tcp},
    {"queue", make_queue},
    {"datagrams", make_datagrams},
    {"listener", make_listener},
    {"stream", make_stream},
    {"messages", make_messages},
    {"passed", make_passed},
    {"proc_file", make_proc_file},
    {"open", make_open},
    {"lock", make_lock},
    {"file", make_file},
    {"link", make_link},
    {"symlink", make_symlink},
    {"attribute", make_attribute},
    {"mapping", make_mapping},
    {"timer", make_timer},
    {"signal", make_signal},
    {"events", make_events},
    {"pty", make_pty},
    {"thread", make_thread},
    {"process", make_process},
};

/* Hoards; a limit of the process is passed by a child that goes on. */
static void hoard(maker *make) {
    for (;;) {
        unsigned long own = 0;
        while (make(shared->made)) {
            shared->made++;
            own++;
        }
        shared->error = errno;
        int is_own_limit = errno == EMFILE || errno == EAGAIN || errno == ENOMEM || errno == ENOLCK;
        if (own < 100 || !is_own_limit || shared->processes == 64)
            _exit(0);
        shared->processes++;
        pid_t next = fork();
        if (next != 0) {
            waitpid(next, 0, 0);
            _exit(0);
        }
        /* What was inherited is the parent's. */
        close_range(3, ~0u, 0);
    }
}

static unsigned long free_kib(void) {
    struct sysinfo info;
    sysinfo(&info);
    return info.freeram * info.mem_unit / 1024;
}

static void remove_files(void) {
    for (int found = 1; found;) {
        DIR *dir = opendir("/tmp/h");
        found = 0;
        for (struct dirent *entry; dir && (entry = readdir(dir));)
            found += entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) == 0;
        closedir(dir);
    }
}

/* Returns whether the kind was survived. */
static int try_kind(const char *name, maker *make) {
    memset(shared, 0, sizeof *shared);
    mkdir("/tmp/h", 0700);
    unsigned long before = free_kib();
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        hoard(make);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL);
    while (waitpid(-1, 0, 0) > 0)
        ;
    remove_files();
    unsigned long after = free_kib();
    /* Tables keep the room that they once had. */
    int is_back = after + before / 16 >= before;
    printf("%s %s: %lu made, by %lu more processes, last error %s, %s %d, %lu of %lu KiB free again\n",
           is_back ? "ok" : "FAILED", name, shared->made, shared->processes, strerrorname_np(shared->error),
           WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), after,
           before);
    fflush(stdout);
    return is_back;
}

int main(int argc, char **argv) {
    struct rlimit many = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_NOFILE, &many);
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failures = 0, tried = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int is_meant = argc < 2;
        for (int a = 1; a < argc; a++)
            is_meant |= !strcmp(argv[a], kinds[i].name);
        if (!is_meant)
            continue;
        tried++;
        failures += !try_kind(kinds[i].name, kinds[i].make);
    }
    printf("%d kinds tried, %d failed\n", tried, failures);
    return failures || !tried;
}
