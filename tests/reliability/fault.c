/* Owns injected faults: preloaded into a program, it makes one call that writes, syncs or renames fail, or the last.
 *
 * FAULT_CALL  write, sync or rename: which kind of call
 * FAULT_AT    the how-manieth of its kind, from 1; 0: none
 * FAULT_HOW   the number of the error it gives, or 0: the program is killed there
 * FAULT_TOLD  a file that is told how many calls of each kind there were, and what was done; appended
 *
 * A write that fails has written half of its bytes. Only calls on regular files and folders count. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { WRITE, SYNC, RENAME, KINDS };

static const char *const names[KINDS] = {"write", "sync", "rename"};
static atomic_int calls[KINDS];
/* The file whose sync was made to fail. */
static char unsynced[PATH_MAX];

static void tell(const char *what, const char *path) {
    const char *told = getenv("FAULT_TOLD");
    int file = told ? open(told, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
    if (file >= 0) {
        dprintf(file, "%s %s\n", what, path);
        close(file);
    }
}

/* Counts a call; whether it is the one. */
static int is_it(enum kind kind) {
    int number = atomic_fetch_add(&calls[kind], 1) + 1;
    const char *call = getenv("FAULT_CALL"), *at = getenv("FAULT_AT");
    return call && at && strcmp(call, names[kind]) == 0 && atoi(at) == number;
}

/* Gives the error, or kills. */
static int fail(const char *path) {
    const char *how = getenv("FAULT_HOW");
    tell("injected", path);
    if (!how || atoi(how) == 0)
        raise(SIGKILL);
    errno = atoi(how);
    return -1;
}

static int is_stored(int file) {
    struct stat about;
    return fstat(file, &about) == 0 && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode));
}

static void path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (is_stored(file) && is_it(WRITE)) {
        char path[PATH_MAX];
        path_of(file, path);
        real(file, bytes, count / 2);
        return fail(path);
    }
    return real(file, bytes, count);
}

static int sync_with(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (is_stored(file) && is_it(SYNC)) {
        struct stat about;
        char path[PATH_MAX];
        path_of(file, path);
        if (fstat(file, &about) == 0 && S_ISREG(about.st_mode))
            strcpy(unsynced, path);
        return fail(path);
    }
    return real(file);
}

int fsync(int file) { return sync_with("fsync", file); }
int fdatasync(int file) { return sync_with("fdatasync", file); }

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real)
        real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    char path[PATH_MAX];
    if (unsynced[0] && realpath(from, path) && strncmp(unsynced, path, strlen(path)) == 0)
        tell("VIOLATION: renamed though it was not synced:", path);
    if (is_it(RENAME))
        return fail(to);
    return real(from, to);
}

__attribute__((destructor)) static void count(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        char number[16];
        snprintf(number, sizeof number, "%d", calls[kind]);
        tell(names[kind], number);
    }
}
