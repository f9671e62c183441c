/* Counts what a process writes below some folders, and at one of these operations kills it or lets the disk refuse.
 *
 * Loaded with LD_PRELOAD; does nothing until faults_arm is called. One count for the whole process, all threads.
 *   build:  cc -O2 -shared -fPIC -o shim.so shim.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, TORN, FULL, READ_ONLY };

static atomic_long n_done;
static atomic_int armed;
static int mode;
static long at;
static char below[2][PATH_MAX];
static char kinds[1 << 20];

/* mode: 0 count, 1 kill before operation `number`, 2 kill in its midst, 3 ENOSPC from it on, 4 EROFS from it on */
void faults_arm(int how, long number, const char *one, const char *other) {
    mode = how;
    at = number;
    strncpy(below[0], one, PATH_MAX - 1);
    strncpy(below[1], other, PATH_MAX - 1);
    atomic_store(&n_done, 0);
    atomic_store(&armed, 1);
}

/* a letter for each operation so far: w for a write, o for another */
const char *faults_kinds(void) { return kinds; }

static int watched(const char *path) {
    for (int i = 0; i < 2; i++)
        if (below[i][0] && strncmp(path, below[i], strlen(below[i])) == 0) return 1;
    return 0;
}

static int watched_at(int folder, const char *path) {
    char where[PATH_MAX], link[64];
    if (path[0] == '/') return watched(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(where, sizeof where)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, where, sizeof where - 1);
        if (n < 0) return 0;
        where[n] = 0;
    }
    return watched(where);
}

static int watched_fd(int fd) { return watched_at(fd, ""); }

/* 0: go on. 1: this operation is refused, errno is set. 2: do half of it, then die. */
static int fault(char kind) {
    long number = atomic_fetch_add(&n_done, 1) + 1;
    if (number < (long)sizeof kinds) kinds[number - 1] = kind;
    if (mode == KILL && number == at) kill(getpid(), SIGKILL);
    if (mode == TORN && number == at) return 2;
    if (mode >= FULL && number >= at) {
        errno = mode == FULL ? ENOSPC : EROFS;
        return 1;
    }
    return 0;
}

#define ON (atomic_load(&armed))
#define REAL(name) \
    static typeof(&name) real; \
    if (!real) real = (typeof(&name))dlsym(RTLD_NEXT, #name)
#define SIMPLE(condition, call) \
    if (ON && (condition)) { \
        int found = fault('o'); \
        if (found == 1) return -1; \
        if (found == 2) { kill(getpid(), SIGKILL); } \
    } \
    return call
/* taking away needs no room: a full disk lets it, one that may not be written to does not */
#define FREEING(condition, call) \
    if (ON && (condition) && mode != FULL) { \
        int found = fault('o'); \
        if (found == 1) return -1; \
        if (found == 2) { kill(getpid(), SIGKILL); } \
    } \
    return call

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write);
    if (ON && watched_fd(fd)) {
        int found = fault('w');
        if (found == 1) return -1;
        if (found == 2) { real(fd, data, n / 2); kill(getpid(), SIGKILL); }
    }
    return real(fd, data, n);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    if (ON && watched_fd(fd)) {
        int found = fault('w');
        if (found == 1) return -1;
        if (found == 2) { real(fd, parts, n / 2); kill(getpid(), SIGKILL); }
    }
    return real(fd, parts, n);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t where) {
    REAL(pwrite64);
    if (ON && watched_fd(fd)) {
        int found = fault('w');
        if (found == 1) return -1;
        if (found == 2) { real(fd, data, n / 2, where); kill(getpid(), SIGKILL); }
    }
    return real(fd, data, n, where);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t where) { return pwrite64(fd, data, n, where); }
int fsync(int fd) { REAL(fsync); SIMPLE(watched_fd(fd), real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); SIMPLE(watched_fd(fd), real(fd)); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); SIMPLE(watched_fd(fd), real(fd, n)); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); SIMPLE(watched_fd(fd), real(fd, n)); }
int rename(const char *a, const char *b) { REAL(rename); SIMPLE(watched_at(AT_FDCWD, b), real(a, b)); }
int renameat(int fa, const char *a, int fb, const char *b) {
    REAL(renameat); SIMPLE(watched_at(fb, b), real(fa, a, fb, b));
}
int mkdir(const char *path, mode_t m) { REAL(mkdir); SIMPLE(watched_at(AT_FDCWD, path), real(path, m)); }
int mkdirat(int fd, const char *path, mode_t m) { REAL(mkdirat); SIMPLE(watched_at(fd, path), real(fd, path, m)); }
int unlink(const char *path) { REAL(unlink); FREEING(watched_at(AT_FDCWD, path), real(path)); }
int unlinkat(int fd, const char *path, int f) { REAL(unlinkat); FREEING(watched_at(fd, path), real(fd, path, f)); }
int rmdir(const char *path) { REAL(rmdir); FREEING(watched_at(AT_FDCWD, path), real(path)); }

#define OPEN(name, fd, call) \
    mode_t m = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); m = va_arg(more, mode_t); va_end(more); } \
    REAL(name); \
    SIMPLE((flags & (O_CREAT | O_TRUNC)) && watched_at(fd, path), call)
int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, real(path, flags, m)); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, real(path, flags, m)); }
int openat(int fd, const char *path, int flags, ...) { OPEN(openat, fd, real(fd, path, flags, m)); }
int openat64(int fd, const char *path, int flags, ...) { OPEN(openat64, fd, real(fd, path, flags, m)); }
