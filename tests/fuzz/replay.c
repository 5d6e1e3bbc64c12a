/* Runs the fuzz target this is linked with over files and folders of files, with an ordinary compiler: everything
 * that fuzzing ever found stays tested.
 *
 *   fuzz_NAME FILE|FOLDER... */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* No small file makes vipo want more than this, in all or at once (the largest picture allowed has 192 MiB).
 * Sanitizers need the address space and malloc for themselves. */
enum { ADDRESS_SPACE_MIB = 1024, REQUEST_MIB = 256 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
enum { LIMITED = 0 };
#else
enum { LIMITED = 1 };
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
/* The C library's own under another name; these take its place for libpng and the others too. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static void check_request(size_t size)
{
    FUZZ_CHECK(size >> 20 < REQUEST_MIB);
}

void *malloc(size_t size)
{
    check_request(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    check_request(size ? count * size : 0);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    check_request(size);
    return __libc_realloc(memory, size);
}
#endif

/* libFuzzer has the real one; mutators are not called here. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room)
{
    (void)data, (void)room;
    return size;
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    const long size = ftell(file);
    rewind(file);
    /* exactly as large as the file, so that a sanitizer sees reads beyond */
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    if (size < 0 || !bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last line names what crashed */
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
    return 1;
}

static int run_folder(const char *path)
{
    struct dirent **entries;
    const int n = scandir(path, &entries, NULL, alphasort);
    int count = 0;
    if (n < 0) {
        perror(path);
        exit(1);
    }
    for (int i = 0; i < n; i++) {
        char full[4096];
        if (entries[i]->d_name[0] != '.') {
            snprintf(full, sizeof full, "%s/%s", path, entries[i]->d_name);
            count += run_file(full);
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv)
{
    const rlim_t most = (rlim_t)ADDRESS_SPACE_MIB << 20;
    if (LIMITED && setrlimit(RLIMIT_AS, &(struct rlimit){most, most}) != 0) {
        perror("setrlimit");
        return 1;
    }
    int count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) != 0) {
            perror(argv[i]);
            return 1;
        }
        count += S_ISDIR(info.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
    }
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
