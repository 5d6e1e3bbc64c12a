#include "core/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

vipo_status vipo_mapped_file_open(vipo_mapped_file *out, const char *path, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    /* O_NONBLOCK: opening a pipe that nobody writes must fail below, not wait. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno));
    struct stat info;
    vipo_status status = VIPO_OK;
    if (fstat(fd, &info) != 0) {
        status = vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = vipo_fail(error, VIPO_IO, "%s: %s, expected a regular file", path,
                           S_ISDIR(info.st_mode) ? "is a folder" : "is a pipe or device");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = errno == ENOMEM ? vipo_fail_memory(error, (size_t)info.st_size, path)
                                     : vipo_fail(error, VIPO_IO, "%s: cannot map: %s", path, strerror(errno));
        } else {
            out->data = data;
            out->size = (size_t)info.st_size;
        }
    }
    close(fd);
    return status;
}

void vipo_mapped_file_release(const vipo_mapped_file *file, const void *start, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t first = (size_t)((const unsigned char *)start - file->data);
    const size_t begin = (first + page - 1) / page * page, end = (first + size) / page * page;
    if (begin < end) madvise((void *)(uintptr_t)(file->data + begin), end - begin, MADV_DONTNEED);
}

void vipo_mapped_file_close(vipo_mapped_file *file)
{
    if (file->data) munmap((void *)(uintptr_t)file->data, file->size);
    memset(file, 0, sizeof *file);
}
