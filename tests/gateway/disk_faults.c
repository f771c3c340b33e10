/* Loaded in front of libc: fsync, fdatasync and pwrite of files under one folder fail or hang as a control file says.

   FAULTS_FOLDER: only descriptors of files below it are touched. FAULTS_FILE: its text is read at each call:
   "fail N" lets every Nth call fail with EIO, "hang" makes fsync wait until the text changes, "" is no fault. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int calls;

static int is_ours(int fd) {
    char link[64], path[4096];
    const char *folder = getenv("FAULTS_FOLDER");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || !folder) return 0;
    path[size] = 0;
    return strncmp(path, folder, strlen(folder)) == 0 && !strstr(path, ".tally") && !strstr(path, ".lock");
}

static void told(char *text, size_t size) {
    int fd = open(getenv("FAULTS_FILE"), O_RDONLY);
    ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
    text[got < 0 ? 0 : got] = 0;
    if (fd >= 0) close(fd);
}

/* 0, or -1 with errno set. */
static int fault(int fd, int may_hang) {
    char text[64];
    int every = 0;
    if (!is_ours(fd)) return 0;
    told(text, sizeof text);
    while (may_hang && strncmp(text, "hang", 4) == 0) {
        usleep(20000);
        told(text, sizeof text);
    }
    if (sscanf(text, "fail %d", &every) == 1 && every > 0 && atomic_fetch_add(&calls, 1) % every == every - 1) {
        errno = EIO;
        return -1;
    }
    return 0;
}

int fsync(int fd) {
    if (fault(fd, 1)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (fault(fd, 1)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    if (fault(fd, 0)) return -1;
    return ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, size, at);
}
