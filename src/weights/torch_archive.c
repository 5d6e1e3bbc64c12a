#include "weights/torch_archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

enum {
    MAX_ENTRIES = 200000,
    MAX_EXPANSION = 32,     /* declared sizes of all entries / size of the file */
    SLACK_BYTES = 64 << 20, /* small files may expand more */
    ROOM = 1200,
};

static vipo_status unsupported(const vipo_torch_archive *a, const char *entry, const char *what,
                               vipo_error *error)
{
    return vipo_fail(error, VIPO_UNSUPPORTED, "%s: entry %.200s: %s", a->path, entry, what);
}

/* "a/b" with parts that are names, no way up, and nothing absolute */
static bool is_safe_name(const char *name)
{
    if (*name == '/' || strchr(name, '\\') || strlen(name) >= VIPO_TORCH_MAX_NAME) return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) return false;
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static vipo_status check_duplicates(const vipo_torch_archive *a, const char **names, size_t n,
                                    vipo_error *error)
{
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return unsupported(a, names[i], "is there twice, expected each name once", error);
    return VIPO_OK;
}

/* One entry: adds its sizes to the totals. */
static vipo_status check_entry(vipo_torch_archive *a, zip_uint64_t i, const char **name, uint64_t *packed,
                               uint64_t *unpacked, vipo_error *error)
{
    zip_stat_t stat;
    *name = zip_get_name(a->zip, i, ZIP_FL_ENC_RAW);
    if (!*name || zip_stat_index(a->zip, i, ZIP_FL_ENC_RAW, &stat) != 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: damaged zip archive: %s", a->path, zip_strerror(a->zip));
    const zip_uint64_t wanted =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((stat.valid & wanted) != wanted) return unsupported(a, *name, "has no size", error);
    if (!is_safe_name(*name))
        return unsupported(a, *name, "expected a name inside the archive's folder", error);
    if (stat.encryption_method != ZIP_EM_NONE)
        return unsupported(a, *name, "is encrypted, expected plain entries", error);
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE)
        return unsupported(a, *name, "expected a stored or deflated entry", error);
    /* the sums cannot overflow: each entry's part of a file is checked against the whole */
    if (stat.comp_size > a->map.size || stat.size > (uint64_t)1 << 50 ||
        (stat.comp_method == ZIP_CM_STORE && stat.size != stat.comp_size))
        return vipo_fail(error, VIPO_FORMAT, "%s: entry %.200s: says it has %llu bytes, the file has %zu",
                         a->path, *name, (unsigned long long)stat.size, a->map.size);
    *packed += stat.comp_size;
    *unpacked += stat.size;
    return VIPO_OK;
}

static vipo_status check_names(vipo_torch_archive *a, const char **names, size_t n, vipo_error *error)
{
    const size_t root = strcspn(names[0], "/");
    memcpy(a->root, names[0], root);
    a->root[root] = '\0';
    for (size_t i = 0; i < n; i++)
        if (strncmp(names[i], a->root, root) != 0 || names[i][root] != '/')
            return vipo_fail(
                error, VIPO_FORMAT,
                "%s: not a PyTorch checkpoint: entries %.100s and %.100s, expected all of them in "
                "one folder",
                a->path, names[0], names[i]);
    return check_duplicates(a, names, n, error);
}

/* Looks at all entries before anything is unpacked. */
static vipo_status check_entries(vipo_torch_archive *a, vipo_error *error)
{
    const zip_int64_t n = zip_get_num_entries(a->zip, 0);
    if (n < 1 || n > MAX_ENTRIES)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: a zip archive of %lld entries, expected 1 to %d",
                         a->path, (long long)n, (int)MAX_ENTRIES);
    const char **names = calloc((size_t)n, sizeof *names);
    if (!names) return vipo_fail_memory(error, (size_t)n * sizeof *names, "an archive's names");
    uint64_t packed = 0, unpacked = 0;
    vipo_status status = VIPO_OK;
    for (zip_int64_t i = 0; i < n && status == VIPO_OK; i++)
        status = check_entry(a, (zip_uint64_t)i, &names[i], &packed, &unpacked, error);
    if (status == VIPO_OK && packed > a->map.size)
        status = vipo_fail(error, VIPO_UNSUPPORTED, "%s: a zip bomb: its entries overlap", a->path);
    if (status == VIPO_OK && unpacked > (uint64_t)a->map.size * MAX_EXPANSION + SLACK_BYTES)
        status =
            vipo_fail(error, VIPO_UNSUPPORTED,
                      "%s: a zip bomb: %zu bytes that say they unpack to %llu, expected at most %d times "
                      "the size",
                      a->path, a->map.size, (unsigned long long)unpacked, (int)MAX_EXPANSION);
    if (status == VIPO_OK) status = check_names(a, names, (size_t)n, error);
    free(names);
    return status;
}

bool vipo_torch_archive_find(const vipo_torch_archive *a, const char *name, uint64_t *entry, size_t *size)
{
    char full[ROOM];
    zip_stat_t stat;
    const int length = snprintf(full, sizeof full, "%s/%s", a->root, name);
    if (length < 0 || length >= (int)sizeof full) return false;
    const zip_int64_t found = zip_name_locate(a->zip, full, ZIP_FL_ENC_RAW);
    if (found < 0 || zip_stat_index(a->zip, (zip_uint64_t)found, 0, &stat) != 0) return false;
    *entry = (uint64_t)found;
    *size = (size_t)stat.size;
    return true;
}

vipo_status vipo_torch_archive_read(const vipo_torch_archive *a, uint64_t entry, unsigned char **out,
                                    size_t *size, vipo_error *error)
{
    zip_stat_t stat;
    *out = NULL;
    *size = 0;
    if (zip_stat_index(a->zip, entry, 0, &stat) != 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s", a->path, zip_strerror(a->zip));
    unsigned char *bytes = malloc((size_t)stat.size + 1);
    if (!bytes) return vipo_fail_memory(error, (size_t)stat.size, "an entry of a checkpoint");
    zip_file_t *file = zip_fopen_index(a->zip, entry, 0);
    const char *problem = file ? NULL : zip_strerror(a->zip);
    zip_uint64_t got = 0;
    while (file && !problem) { /* one byte more than declared: the end is where checksums are compared */
        const zip_int64_t n = zip_fread(file, bytes + got, stat.size + 1 - got);
        if (n < 0) problem = zip_file_strerror(file);
        if (n <= 0) break;
        got += (zip_uint64_t)n;
        if (got > stat.size) problem = "it is longer than it says";
    }
    if (!problem && got < stat.size) problem = "it is shorter than it says";
    vipo_status status = VIPO_OK;
    if (problem)
        status = vipo_fail(error, VIPO_FORMAT, "%s: entry %.200s: damaged: %s", a->path, stat.name, problem);
    if (file) zip_fclose(file);
    if (status != VIPO_OK) {
        free(bytes);
        return status;
    }
    *out = bytes;
    *size = (size_t)stat.size;
    return VIPO_OK;
}

static vipo_status check_byte_order(const vipo_torch_archive *a, vipo_error *error)
{
    uint64_t entry;
    unsigned char *text;
    size_t size;
    if (!vipo_torch_archive_find(a, "byteorder", &entry, &size)) return VIPO_OK; /* PyTorch before 2.1 */
    VIPO_TRY(vipo_torch_archive_read(a, entry, &text, &size, error));
    const bool little = size >= 6 && memcmp(text, "little", 6) == 0;
    free(text);
    return little ? VIPO_OK
                  : vipo_fail(error, VIPO_UNSUPPORTED,
                              "%s: written on a big-endian machine, expected byte order little", a->path);
}

/* What PyTorch wrote before version 1.6: a pickle of a number with ten bytes. */
static bool is_legacy(const vipo_mapped_file *map)
{
    static const unsigned char magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46};
    return map->size > 8 && map->data[0] == 0x80 && memcmp(map->data + 2, magic, sizeof magic) == 0;
}

static vipo_status open_archive(vipo_torch_archive *a, vipo_error *error)
{
    if (is_legacy(&a->map))
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "%s: in PyTorch's format from before version 1.6; load it there and save it again with "
            "torch.save",
            a->path);
    if (a->map.size < 4 || memcmp(a->map.data, "PK\3\4", 4) != 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: not a PyTorch checkpoint: expected a zip archive", a->path);
    zip_error_t problem;
    zip_error_init(&problem);
    zip_source_t *source = zip_source_buffer_create(a->map.data, a->map.size, 0, &problem);
    if (source) {
        a->zip = zip_open_from_source(source, ZIP_RDONLY, &problem);
        if (!a->zip) zip_source_free(source);
    }
    vipo_status status = VIPO_OK;
    if (!a->zip)
        status = vipo_fail(error, VIPO_FORMAT, "%s: truncated or damaged zip archive: %s", a->path,
                           zip_error_strerror(&problem));
    zip_error_fini(&problem);
    return status;
}

vipo_status vipo_torch_archive_open(vipo_torch_archive *out, const char *path, vipo_error *error)
{
    *out = (vipo_torch_archive){.path = strdup(path)};
    if (!out->path) return vipo_fail_memory(error, strlen(path), "a file name");
    VIPO_TRY(vipo_mapped_file_open(&out->map, path, error));
    VIPO_TRY(open_archive(out, error));
    VIPO_TRY(check_entries(out, error));
    return check_byte_order(out, error);
}

void vipo_torch_archive_close(vipo_torch_archive *archive)
{
    if (archive->zip) zip_discard(archive->zip);
    vipo_mapped_file_close(&archive->map);
    free(archive->path);
    *archive = (vipo_torch_archive){.path = NULL};
}

bool vipo_torch_archive_recognise(const vipo_mapped_file *map)
{
    const bool is_zip = map->size >= 8 && memcmp(map->data, "PK\3\4", 4) == 0 &&
                        memcmp(map->data + 4, "\0\0\0\0", 4) != 0; /* zeros: length of a safetensors header */
    return is_zip || is_legacy(map);
}
