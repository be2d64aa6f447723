/* The init of the Linux guest that Tyn is compared with. It starts what /.tyn/init of the same image says (format: see
   libs/bootfmt), after mounting the usual file systems, loading the modules that /modules/order lists, and giving
   eth0 the address that QEMU's user network expects. When the program ends, it switches the machine off. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[65536];

static void fail(const char *what) {
    fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
    reboot(RB_AUTOBOOT);
}

static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n >= 0) text[n] = 0;
    return n;
}

static void load_modules(void) {
    if (slurp("/modules/order") < 0) return;
    for (char *save, *name = strtok_r(text, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
        char path[256];
        snprintf(path, sizeof path, "/modules/%s", name);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) fail(path);
        close(fd);
    }
}

static void address(int s, const char *name, const char *ip, const char *mask) {
    struct ifreq r = {0};
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    a->sin_family = AF_INET;
    inet_pton(AF_INET, ip, &a->sin_addr);
    if (ioctl(s, SIOCSIFADDR, &r)) fail(name);
    inet_pton(AF_INET, mask, &a->sin_addr);
    ioctl(s, SIOCSIFNETMASK, &r);
    ioctl(s, SIOCGIFFLAGS, &r);
    r.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &r)) fail(name);
}

static void network(void) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    address(s, "lo", "127.0.0.1", "255.0.0.0");
    address(s, "eth0", "10.0.2.15", "255.255.255.0");
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    struct sockaddr_in gateway = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};
    inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
    memcpy(&route.rt_gateway, &gateway, sizeof gateway);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    if (ioctl(s, SIOCADDRT, &route)) fail("route");
    close(s);
}

int main(void) {
    static char *argv[256], *envp[256];
    int args = 0, envs = 0;
    const char *cwd = "/";
    mkdir("/proc", 0755); mkdir("/sys", 0755); mkdir("/dev", 0755); mkdir("/tmp", 01777);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    /* As many descriptors as Tyn allows. */
    struct rlimit files = {1 << 17, 1 << 17};
    if (setrlimit(RLIMIT_NOFILE, &files)) fail("limit");
    load_modules();
    network();
    ssize_t n = slurp("/.tyn/init");
    if (n < 0) fail("/.tyn/init");
    for (char *r = text; r < text + n; r += strlen(r) + 1) {
        if (!strncmp(r, "arg=", 4) && args < 255) argv[args++] = r + 4;
        if (!strncmp(r, "env=", 4) && envs < 255) envp[envs++] = r + 4;
        if (!strncmp(r, "cwd=", 4)) cwd = r + 4;
        if (!strncmp(r, "hostname=", 9)) sethostname(r + 9, strlen(r + 9));
    }
    if (!args) { errno = EINVAL; fail("/.tyn/init names no program"); }
    pid_t child = fork();
    if (!child) {
        if (chdir(cwd)) _exit(126);
        execve(argv[0], argv, envp);
        fprintf(stderr, "init: %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    int status;
    while (wait(&status) != child) { }
    printf("init: program ended with wait status %#x\n", status);
    reboot(RB_AUTOBOOT);
}
