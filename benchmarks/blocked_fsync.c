/* Preloaded into a deployment: fsync and fdatasync of files under BENCH_BLOCK_UNDER do not return while the file
 * BENCH_BLOCK_FILE exists, as on a disk that has stopped answering. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_while_blocked(int descriptor) {
    const char *flag = getenv("BENCH_BLOCK_FILE"), *under = getenv("BENCH_BLOCK_UNDER");
    char link[64], path[PATH_MAX];
    if (!flag || !under || access(flag, F_OK)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (strncmp(path, under, strlen(under))) return;
    while (!access(flag, F_OK)) usleep(5000);
}

int fsync(int descriptor) {
    wait_while_blocked(descriptor);
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    wait_while_blocked(descriptor);
    return (int)syscall(SYS_fdatasync, descriptor);
}
