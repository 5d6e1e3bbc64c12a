#include "eval/store.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/clock.h"
#include "core/hash.h"

/* "VIPO": says whose file it is. The version of the tables is user_version. */
enum { APPLICATION = 0x5649504f, VERSION = 1, BUSY_MILLISECONDS = 60000, SQL_ROOM = 4096 };

struct vipo_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *add, *find; /* made when first needed */
};

/* ---- errors ---------------------------------------------------------------------------------------------- */

static vipo_status store_fail(const vipo_store *store, const char *what, vipo_error *error)
{
    sqlite3 *const db = store->db;
    const int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    const int system = db ? sqlite3_system_errno(db) : 0;
    switch (code) {
    case SQLITE_NOMEM:
        return vipo_fail_memory(error, 1 << 16, "a store of results");
    case SQLITE_NOTADB:
        return vipo_fail(error, VIPO_FORMAT, "%s: not a store of results (no SQLite file)", store->path);
    case SQLITE_CORRUPT:
        return vipo_fail(error, VIPO_FORMAT, "%s: damaged: %s", store->path, sqlite3_errmsg(db));
    case SQLITE_FULL:
        return vipo_fail(error, VIPO_IO, "%s: cannot %s: No space left on device", store->path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return vipo_fail(error, VIPO_IO, "%s: cannot %s: another process has held it for %d s", store->path,
                         what, BUSY_MILLISECONDS / 1000);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return vipo_fail(error, VIPO_IO, "%s: cannot %s: %s", store->path, what,
                         system ? strerror(system) : sqlite3_errmsg(db));
    default:
        return vipo_fail(error, VIPO_INTERNAL, "%s: cannot %s: %s", store->path, what,
                         db ? sqlite3_errmsg(db) : "no memory");
    }
}

static vipo_status run(const vipo_store *store, const char *sql, const char *what, vipo_error *error)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK) return VIPO_OK;
    return store_fail(store, what, error);
}

/* A transaction that is under way leaves nothing behind. */
static void roll_back(const vipo_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Ends a transaction; a failed one leaves nothing behind. */
static vipo_status finish(const vipo_store *store, vipo_status status, vipo_error *error)
{
    if (status == VIPO_OK) status = run(store, "COMMIT", "write", error);
    if (status != VIPO_OK) roll_back(store);
    return status;
}

vipo_status vipo_store_begin_reading(const vipo_store *store, vipo_error *error)
{
    return run(store, "BEGIN", "read", error);
}

void vipo_store_end_reading(const vipo_store *store)
{
    roll_back(store);
}

static vipo_status prepare(const vipo_store *store, const char *sql, sqlite3_stmt **out, vipo_error *error)
{
    if (sqlite3_prepare_v2(store->db, sql, -1, out, NULL) == SQLITE_OK) return VIPO_OK;
    return store_fail(store, "read", error);
}

/* ---- columns --------------------------------------------------------------------------------------------- */

static const char *column_type(vipo_field_kind kind)
{
    switch (kind) {
    case VIPO_FIELD_TEXT:
    case VIPO_FIELD_INTS:
    case VIPO_FIELD_DOUBLES:
        return "TEXT NOT NULL";
    case VIPO_FIELD_DOUBLE:
        return "REAL NOT NULL";
    case VIPO_FIELD_STEP:
        return "INTEGER";
    default:
        return "INTEGER NOT NULL";
    }
}

/* "settings, task, ..." with something between and behind. */
static void append_columns(char *sql, bool types, bool questions)
{
    for (int i = 0; i < vipo_n_fields; i++) {
        const size_t used = strlen(sql);
        snprintf(sql + used, SQL_ROOM - used, "%s%s%s%s", i ? ", " : "",
                 questions ? "?" : vipo_fields[i].name, types ? " " : "",
                 types ? column_type(vipo_fields[i].kind) : "");
    }
}

static void append(char *sql, const char *text)
{
    const size_t used = strlen(sql);
    snprintf(sql + used, SQL_ROOM - used, "%s", text);
}

static int bind(sqlite3_stmt *statement, int column, const vipo_field *field, const vipo_record *record)
{
    const char *const at = (const char *)record + field->offset;
    char text[VIPO_RECORD_PLANS * 24];
    switch (field->kind) {
    case VIPO_FIELD_TEXT:
        return sqlite3_bind_text(statement, column, at, -1, SQLITE_TRANSIENT);
    case VIPO_FIELD_UINT64:
        return sqlite3_bind_int64(statement, column, (sqlite3_int64) * (const uint64_t *)at);
    case VIPO_FIELD_BOOL:
        return sqlite3_bind_int(statement, column, *(const bool *)at);
    case VIPO_FIELD_INT:
        return sqlite3_bind_int(statement, column, *(const int *)at);
    case VIPO_FIELD_STEP:
        return *(const int *)at ? sqlite3_bind_int(statement, column, *(const int *)at)
                                : sqlite3_bind_null(statement, column);
    case VIPO_FIELD_DOUBLE:
        return sqlite3_bind_double(statement, column, *(const double *)at);
    case VIPO_FIELD_INTS:
    case VIPO_FIELD_DOUBLES:
        vipo_field_print(field, record, text, sizeof text);
        return sqlite3_bind_text(statement, column, text, -1, SQLITE_TRANSIENT);
    }
    return SQLITE_MISUSE;
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const char *const text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

/* A row of all columns. Values that no vipo wrote are an error. */
static vipo_status read_row(const vipo_store *store, sqlite3_stmt *statement, vipo_record *out,
                            vipo_error *error)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < vipo_n_fields; i++) {
        const vipo_field *const field = &vipo_fields[i];
        char *const at = (char *)out + field->offset;
        const sqlite3_int64 number = sqlite3_column_int64(statement, i);
        bool good = true;
        switch (field->kind) {
        case VIPO_FIELD_TEXT:
            good = strlen(text_of(statement, i)) < field->size;
            snprintf(at, field->size, "%s", text_of(statement, i));
            break;
        case VIPO_FIELD_UINT64:
            *(uint64_t *)at = (uint64_t)number;
            break;
        case VIPO_FIELD_BOOL:
            *(bool *)at = number != 0;
            break;
        case VIPO_FIELD_INT:
        case VIPO_FIELD_STEP:
            good = number >= 0 && number <= INT32_MAX;
            if (good) *(int *)at = (int)number;
            break;
        case VIPO_FIELD_DOUBLE:
            *(double *)at = sqlite3_column_double(statement, i);
            break;
        case VIPO_FIELD_INTS:
        case VIPO_FIELD_DOUBLES:
            good = vipo_field_parse_list(field, out, text_of(statement, i));
            break;
        }
        if (!good)
            return vipo_fail(error, VIPO_FORMAT, "%s: a value of column %s is out of range: %.60s",
                             store->path, field->name, text_of(statement, i));
    }
    return VIPO_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

/* A number that a pragma or a query gives. */
static vipo_status query_number(const vipo_store *store, const char *sql, int *out, vipo_error *error)
{
    sqlite3_stmt *statement;
    VIPO_TRY(prepare(store, sql, &statement, error));
    const int code = sqlite3_step(statement);
    *out = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
    vipo_status status = VIPO_OK;
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = store_fail(store, "read", error);
    sqlite3_finalize(statement);
    return status;
}

static vipo_status check_owner(const vipo_store *store, bool *empty, vipo_error *error)
{
    int application, version, tables;
    VIPO_TRY(query_number(store, "PRAGMA application_id", &application, error));
    VIPO_TRY(query_number(store, "PRAGMA user_version", &version, error));
    VIPO_TRY(query_number(store, "SELECT count(*) FROM sqlite_master", &tables, error));
    *empty = tables == 0 && application == 0 && version == 0;
    if (*empty) return VIPO_OK;
    if (application != APPLICATION)
        return vipo_fail(error, VIPO_FORMAT, "%s: an SQLite file of another program, not a store of results",
                         store->path);
    if (version != VERSION)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: a store of version %d, this vipo reads version %d",
                         store->path, version, VERSION);
    return VIPO_OK;
}

/* The same, all of one moment: another process may be making the tables. */
static vipo_status check_owner_now(const vipo_store *store, bool *empty, vipo_error *error)
{
    VIPO_TRY(vipo_store_begin_reading(store, error));
    const vipo_status status = check_owner(store, empty, error);
    vipo_store_end_reading(store);
    return status;
}

static vipo_status make_tables(const vipo_store *store, vipo_error *error)
{
    char sql[SQL_ROOM];
    bool empty = false;
    snprintf(sql, sizeof sql,
             "PRAGMA application_id = %d; PRAGMA user_version = %d;"
             "CREATE TABLE settings (hash TEXT PRIMARY KEY, label TEXT NOT NULL, json TEXT NOT NULL);"
             "CREATE TABLE episodes (",
             APPLICATION, VERSION);
    append_columns(sql, true, false);
    append(sql, ", PRIMARY KEY (settings, task, camera, seed));");
    VIPO_TRY(run(store, "BEGIN IMMEDIATE", "write", error));
    vipo_status status = check_owner(store, &empty, error); /* another process may have been faster */
    if (status == VIPO_OK && empty) status = run(store, sql, "write", error);
    return finish(store, status, error);
}

/* A writer that was killed leaves its last rows in a log. */
static bool has_log(const char *path)
{
    struct stat info;
    char *const log = sqlite3_mprintf("%s-wal", path);
    const bool found = log && stat(log, &info) == 0 && info.st_size > 0;
    sqlite3_free(log);
    return found;
}

/* The ways to open for reading: the first one leaves no files of SQLite's log behind when it closes; where nothing can be
 * written the next ones are left, the last of which needs no index of the log. */
static int open_in_turn(vipo_store *store)
{
    char *const uri = sqlite3_mprintf("file:%s?immutable=1", store->path);
    const struct {
        const char *name;
        int flags;
    } ways[] = {{store->path, SQLITE_OPEN_READWRITE},
                {store->path, SQLITE_OPEN_READONLY},
                {uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI}};
    /* without the log's index its rows would not be seen: only where there is no log */
    const int n = uri && !has_log(store->path) && !strpbrk(store->path, "?#%") ? 3 : 2;
    int code = SQLITE_NOMEM;
    for (int i = 0; i < n; i++) {
        sqlite3_close(store->db);
        store->db = NULL;
        code = sqlite3_open_v2(ways[i].name, &store->db, ways[i].flags, NULL);
        if (code != SQLITE_OK) continue;
        sqlite3_busy_timeout(store->db, BUSY_MILLISECONDS);
        code = sqlite3_exec(store->db, "PRAGMA query_only = ON; SELECT count(*) FROM sqlite_master", NULL,
                            NULL, NULL);
        if (code != SQLITE_CANTOPEN && code != SQLITE_READONLY && code != SQLITE_PERM) break;
    }
    sqlite3_free(uri);
    return code;
}

static vipo_status open_to_read(vipo_store *store, vipo_error *error)
{
    bool empty;
    if (open_in_turn(store) != SQLITE_OK) return store_fail(store, "read", error);
    VIPO_TRY(check_owner_now(store, &empty, error));
    if (empty) return vipo_fail(error, VIPO_FORMAT, "%s: holds no results", store->path);
    return VIPO_OK;
}

/* Keeps a log of what is written (https://sqlite.org/wal.html). SQLite does not wait where another process does the same at
 * this moment, whatever its time-out: each holds the file for reading, and neither could go on. */
static vipo_status keep_log(const vipo_store *store, vipo_error *error)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    const double end = vipo_clock_seconds() + BUSY_MILLISECONDS / 1000.0;
    int code;
    while ((code = sqlite3_exec(store->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL)) == SQLITE_BUSY &&
           vipo_clock_seconds() < end)
        nanosleep(&pause, NULL);
    if (code != SQLITE_OK) return store_fail(store, "write", error);
    return run(store, "PRAGMA synchronous = FULL", "write", error);
}

static vipo_status open_to_write(vipo_store *store, vipo_error *error)
{
    bool empty;
    int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code != SQLITE_OK) return store_fail(store, "write", error);
    sqlite3_busy_timeout(store->db, BUSY_MILLISECONDS);
    VIPO_TRY(check_owner_now(store, &empty, error));
    VIPO_TRY(keep_log(store, error));
    return empty ? make_tables(store, error) : VIPO_OK;
}

vipo_status vipo_store_open(vipo_store **out, const char *path, vipo_store_mode mode, vipo_error *error)
{
    struct stat info;
    *out = NULL;
    const bool exists = stat(path, &info) == 0;
    if (!exists && (mode == VIPO_STORE_READ || errno != ENOENT))
        return vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno));
    if (exists && !S_ISREG(info.st_mode))
        return vipo_fail(error, VIPO_IO, "%s: expected a file of results, found %s", path,
                         S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    vipo_store *store = calloc(1, sizeof *store);
    if (!store || !(store->path = strdup(path))) {
        free(store);
        return vipo_fail_memory(error, sizeof *store + strlen(path), "a store of results");
    }
    const vipo_status status =
        mode == VIPO_STORE_READ ? open_to_read(store, error) : open_to_write(store, error);
    if (status != VIPO_OK) vipo_store_close(&store);
    *out = store;
    return status;
}

void vipo_store_close(vipo_store **store)
{
    if (!*store) return;
    sqlite3_finalize((*store)->add);
    sqlite3_finalize((*store)->find);
    sqlite3_close((*store)->db);
    free((*store)->path);
    free(*store);
    *store = NULL;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

/* Runs a statement that gives no rows, and makes it ready for the next time. */
static vipo_status step_done(const vipo_store *store, sqlite3_stmt *statement, vipo_error *error)
{
    vipo_status status = VIPO_OK;
    if (sqlite3_step(statement) != SQLITE_DONE) status = store_fail(store, "write", error);
    sqlite3_reset(statement);
    return status;
}

vipo_status vipo_store_add_settings(vipo_store *store, const vipo_settings *settings, vipo_error *error)
{
    sqlite3_stmt *statement;
    VIPO_TRY(prepare(store, "INSERT OR IGNORE INTO settings (hash, label, json) VALUES (?, ?, ?)", &statement,
                     error));
    vipo_status status = VIPO_OK;
    if (sqlite3_bind_text(statement, 1, settings->hash, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(statement, 2, settings->label, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(statement, 3, settings->json, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        status = store_fail(store, "write", error);
    if (status == VIPO_OK) status = step_done(store, statement, error);
    sqlite3_finalize(statement);
    return status;
}

vipo_status vipo_store_add(vipo_store *store, const vipo_record *record, bool *added, vipo_error *error)
{
    *added = false;
    if (!store->add) {
        char sql[SQL_ROOM] = "INSERT OR IGNORE INTO episodes (";
        append_columns(sql, false, false);
        append(sql, ") VALUES (");
        append_columns(sql, false, true);
        append(sql, ")");
        VIPO_TRY(prepare(store, sql, &store->add, error));
    }
    for (int i = 0; i < vipo_n_fields; i++)
        if (bind(store->add, i + 1, &vipo_fields[i], record) != SQLITE_OK)
            return store_fail(store, "write", error);
    VIPO_TRY(step_done(store, store->add, error));
    *added = sqlite3_changes(store->db) > 0;
    return VIPO_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static void select_columns(char *sql, const char *rest)
{
    snprintf(sql, SQL_ROOM, "SELECT ");
    append_columns(sql, false, false);
    append(sql, " FROM episodes ");
    append(sql, rest);
}

vipo_status vipo_store_find(vipo_store *store, const char *settings, const char *task, const char *camera,
                            uint64_t seed, bool *found, vipo_record *out, vipo_error *error)
{
    *found = false;
    memset(out, 0, sizeof *out);
    if (!store->find) {
        char sql[SQL_ROOM];
        select_columns(sql, "WHERE settings = ? AND task = ? AND camera = ? AND seed = ?");
        VIPO_TRY(prepare(store, sql, &store->find, error));
    }
    sqlite3_stmt *const find = store->find;
    if (sqlite3_bind_text(find, 1, settings, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(find, 2, task, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(find, 3, camera, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_int64(find, 4, (sqlite3_int64)seed) != SQLITE_OK)
        return store_fail(store, "read", error);
    const int code = sqlite3_step(find);
    vipo_status status = VIPO_OK;
    if (code == SQLITE_ROW) {
        status = read_row(store, find, out, error);
        *found = status == VIPO_OK;
    } else if (code != SQLITE_DONE) {
        status = store_fail(store, "read", error);
    }
    sqlite3_reset(find);
    return status;
}

vipo_status vipo_store_each(vipo_store *store, const char *settings,
                            bool (*visit)(void *user, const vipo_record *record), void *user,
                            vipo_error *error)
{
    char sql[SQL_ROOM];
    sqlite3_stmt *statement;
    vipo_record record;
    int code;
    select_columns(sql, "WHERE ?1 IS NULL OR settings = ?1 ORDER BY settings, task, camera, seed");
    VIPO_TRY(prepare(store, sql, &statement, error));
    vipo_status status = VIPO_OK;
    if (settings && sqlite3_bind_text(statement, 1, settings, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        status = store_fail(store, "read", error);
    while (status == VIPO_OK && (code = sqlite3_step(statement)) != SQLITE_DONE) {
        status = code == SQLITE_ROW ? read_row(store, statement, &record, error)
                                    : store_fail(store, "read", error);
        if (status == VIPO_OK && !visit(user, &record)) break;
    }
    sqlite3_finalize(statement);
    return status;
}

vipo_status vipo_store_each_settings(vipo_store *store,
                                     bool (*visit)(void *user, const vipo_settings *settings), void *user,
                                     vipo_error *error)
{
    sqlite3_stmt *statement;
    int code;
    VIPO_TRY(prepare(store, "SELECT hash, label, json FROM settings ORDER BY rowid", &statement, error));
    vipo_status status = VIPO_OK;
    while (status == VIPO_OK && (code = sqlite3_step(statement)) != SQLITE_DONE) {
        vipo_settings settings = {0};
        if (code != SQLITE_ROW) {
            status = store_fail(store, "read", error);
            break;
        }
        snprintf(settings.hash, sizeof settings.hash, "%s", text_of(statement, 0));
        snprintf(settings.label, sizeof settings.label, "%s", text_of(statement, 1));
        settings.json = strdup(text_of(statement, 2));
        if (!settings.json) status = vipo_fail_memory(error, 4096, "settings");
        const bool go_on = status == VIPO_OK && visit(user, &settings);
        vipo_settings_free(&settings);
        if (!go_on) break;
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- merging and comparing ------------------------------------------------------------------------------- */

typedef struct merge_state {
    vipo_store *store;
    vipo_merge_counts counts;
    vipo_status status;
    vipo_error *error;
} merge_state;

static bool merge_settings(void *user, const vipo_settings *settings)
{
    merge_state *const m = user;
    m->status = vipo_store_add_settings(m->store, settings, m->error);
    return m->status == VIPO_OK;
}

static bool merge_record(void *user, const vipo_record *record)
{
    merge_state *const m = user;
    vipo_record present;
    bool added, found = false;
    m->status = vipo_store_add(m->store, record, &added, m->error);
    if (m->status == VIPO_OK && !added)
        m->status = vipo_store_find(m->store, record->settings, record->task, record->camera, record->seed,
                                    &found, &present, m->error);
    if (m->status != VIPO_OK) return false;
    const bool same = found && vipo_record_digest(VIPO_HASH64_START, record) ==
                                   vipo_record_digest(VIPO_HASH64_START, &present);
    m->counts.added += added;
    m->counts.present += !added && same;
    m->counts.different += !added && !same;
    return true;
}

vipo_status vipo_store_merge(vipo_store *store, vipo_store *other, vipo_merge_counts *counts,
                             vipo_error *error)
{
    merge_state m = {.store = store, .error = error};
    memset(counts, 0, sizeof *counts);
    VIPO_TRY(run(store, "BEGIN IMMEDIATE", "write", error));
    vipo_status status = vipo_store_begin_reading(other, error);
    if (status == VIPO_OK) status = vipo_store_each_settings(other, merge_settings, &m, error);
    if (status == VIPO_OK) status = m.status;
    if (status == VIPO_OK) status = vipo_store_each(other, NULL, merge_record, &m, error);
    if (status == VIPO_OK) status = m.status;
    vipo_store_end_reading(other);
    status = finish(store, status, error);
    if (status == VIPO_OK) *counts = m.counts;
    return status;
}

typedef struct digest_state {
    uint64_t hash;
    int rows;
} digest_state;

static bool digest_record(void *user, const vipo_record *record)
{
    digest_state *const d = user;
    d->hash = vipo_record_digest(d->hash, record);
    d->rows++;
    return true;
}

vipo_status vipo_store_digest(vipo_store *store, char out[VIPO_SETTINGS_HASH], int *rows, vipo_error *error)
{
    digest_state d = {VIPO_HASH64_START, 0};
    VIPO_TRY(vipo_store_each(store, NULL, digest_record, &d, error));
    snprintf(out, VIPO_SETTINGS_HASH, "%016" PRIx64, d.hash);
    if (rows) *rows = d.rows;
    return VIPO_OK;
}
