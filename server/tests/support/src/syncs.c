/* Loaded before a process: writes down which file each of its syncs was of, and makes all of them
 * fail while another file exists, as a dying disk does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int is_broken(void) {
    const char *path = getenv("BERTH_BROKEN_DISK");
    int before = errno;
    int broken = path && access(path, F_OK) == 0;
    errno = before;
    return broken;
}

/* One line, in one write: lines of several threads do not mix. */
static void note(int fd) {
    const char *list = getenv("BERTH_SYNCS");
    char link[64], path[4096];
    ssize_t length;
    int out;
    if (!list)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    out = open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (length > 0 && out >= 0) {
        path[length++] = '\n';
        if (write(out, path, length) != length)
            abort();
    }
    if (out >= 0)
        close(out);
}

static int sync_by(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result;
    if (is_broken()) {
        errno = EIO;
        return -1;
    }
    result = real(fd);
    if (result == 0)
        note(fd);
    return result;
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }
