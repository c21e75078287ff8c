/* Makes calls of the C library that write beneath a folder fail. Loaded with LD_PRELOAD; tests/support/failing_disk.py
   compiles and steers it.

   FAULT_ROOT   the folder
   FAULT_STATE  a file of `struct state` that all processes share. While `first` is 0, nothing fails and each call is
                appended to FAULT_STATE.log.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct state { _Atomic long calls, first, last, error; char what[480]; };
static struct state *shared;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("FAULT_STATE"), *folder = getenv("FAULT_ROOT");
    if (!file || !folder || !realpath(folder, root)) return;
    root_length = strlen(root);
    int opened = open(file, O_RDWR | O_CLOEXEC);
    if (opened < 0) return;
    void *mapped = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
    if (mapped != MAP_FAILED) shared = mapped;
}

static int open_real(const char *path)
{
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void write_real(int file, const char *text, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (real(file, text, length) < 0) return;
}

static int fails(const char *call, const char *path)
{
    if (strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return 0;
    long now = atomic_fetch_add(&shared->calls, 1) + 1;
    if (!shared->first) {
        char line[PATH_MAX + 64], log[PATH_MAX];
        snprintf(log, sizeof log, "%s.log", getenv("FAULT_STATE"));
        int length = snprintf(line, sizeof line, "%s %s\n", call, path + root_length);
        int opened = open_real(log);
        if (opened >= 0) { write_real(opened, line, (size_t)length); close(opened); }
    }
    if (now < shared->first || now > shared->last) return 0;
    if (now == shared->first) snprintf(shared->what, sizeof shared->what, "%s %s", call, path + root_length);
    errno = (int)shared->error;
    return 1;
}

static int fails_at(const char *call, int folder, const char *path)
{
    char whole[2 * PATH_MAX], base[PATH_MAX];
    if (!shared || !path) return 0;
    if (path[0] == '/') return fails(call, path);
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return fails(call, whole);
}

static int fails_on(const char *call, int file)
{
    char link[64], path[PATH_MAX];
    if (!shared) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define ON_FILE(type, name, file, parameters, ...) \
    type name parameters { \
        static type (*real) parameters; \
        if (!real) real = (type (*) parameters)dlsym(RTLD_NEXT, #name); \
        return fails_on(#name, file) ? -1 : real(__VA_ARGS__); \
    }

ON_FILE(ssize_t, write, file, (int file, const void *bytes, size_t count), file, bytes, count)
ON_FILE(ssize_t, pwrite, file, (int file, const void *bytes, size_t count, off_t at), file, bytes, count, at)
ON_FILE(ssize_t, pwrite64, file, (int file, const void *bytes, size_t count, off64_t at), file, bytes, count, at)
ON_FILE(ssize_t, writev, file, (int file, const struct iovec *parts, int count), file, parts, count)
ON_FILE(ssize_t, pwritev, file, (int file, const struct iovec *parts, int count, off_t at), file, parts, count, at)
ON_FILE(int, fsync, file, (int file), file)
ON_FILE(int, fdatasync, file, (int file), file)
ON_FILE(int, ftruncate, file, (int file, off_t size), file, size)
ON_FILE(int, ftruncate64, file, (int file, off64_t size), file, size)
ON_FILE(int, fallocate, file, (int file, int mode, off_t at, off_t size), file, mode, at, size)
ON_FILE(ssize_t, sendfile, to, (int to, int from, off_t *at, size_t count), to, from, at, count)
ON_FILE(ssize_t, copy_file_range, to, (int from, off64_t *at, int to, off64_t *there, size_t count, unsigned flags), from, at, to, there, count, flags)

#define ON_PATH(name, folder, path, parameters, ...) \
    int name parameters { \
        static int (*real) parameters; \
        if (!real) real = (int (*) parameters)dlsym(RTLD_NEXT, #name); \
        return fails_at(#name, folder, path) ? -1 : real(__VA_ARGS__); \
    }

ON_PATH(rename, AT_FDCWD, to, (const char *from, const char *to), from, to)
ON_PATH(renameat, there, to, (int here, const char *from, int there, const char *to), here, from, there, to)
ON_PATH(renameat2, there, to, (int here, const char *from, int there, const char *to, unsigned flags), here, from, there, to, flags)
ON_PATH(link, AT_FDCWD, to, (const char *from, const char *to), from, to)
ON_PATH(linkat, there, to, (int here, const char *from, int there, const char *to, int flags), here, from, there, to, flags)
ON_PATH(mkdir, AT_FDCWD, path, (const char *path, mode_t mode), path, mode)
ON_PATH(mkdirat, folder, path, (int folder, const char *path, mode_t mode), folder, path, mode)

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND))
#define OPENS(name, folder, parameters, ...) \
    int name parameters { \
        static int (*real) parameters; \
        if (!real) real = (int (*) parameters)dlsym(RTLD_NEXT, #name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        return WRITES(flags) && fails_at(#name, folder, path) ? -1 : real(__VA_ARGS__, flags, mode); \
    }

OPENS(open, AT_FDCWD, (const char *path, int flags, ...), path)
OPENS(open64, AT_FDCWD, (const char *path, int flags, ...), path)
OPENS(openat, folder, (int folder, const char *path, int flags, ...), folder, path)
OPENS(openat64, folder, (int folder, const char *path, int flags, ...), folder, path)
