#define _GNU_SOURCE /* dladdr */
#include "eval/spread.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/environment.h"
#include "core/log.h"

static void nap(void)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
}

static vipo_status mpi_fail(const vipo_spread *spread, const char *what, int code, vipo_error *error)
{
    char text[300] = "";
    spread->transport->text(code, text, sizeof text);
    return vipo_fail(error, VIPO_IO, "MPI: cannot %s: %s", what, text);
}

/* ---- meeting --------------------------------------------------------------------------------------------- */

/* How many processes mpirun says that it has started; 1: there is no mpirun. */
static int started_processes(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (int i = 0; i < 2; i++) {
        const char *const text = vipo_environment(names[i]);
        if (text) return atoi(text);
    }
    return 1;
}

static const char anchor[] = "an address in this library";

/* libvipo_mpi.so lies next to the library that this code is in. */
static bool find_library(char *path, size_t size)
{
    Dl_info self;
    if (!dladdr(anchor, &self) || !self.dli_fname) return false;
    const char *const slash = strrchr(self.dli_fname, '/');
    const int folder = slash ? (int)(slash - self.dli_fname) + 1 : 0;
    const int n = snprintf(path, size, "%.*slibvipo_mpi.so", folder, self.dli_fname);
    return n > 0 && (size_t)n < size;
}

static vipo_status open_transport(vipo_spread *spread, vipo_error *error)
{
    char path[4096];
    const bool found = find_library(path, sizeof path);
    if (!found || access(path, F_OK) != 0)
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "mpirun has started %d processes, but this vipo was built without MPI: install "
            "libopenmpi-dev (scripts/setup.sh) and build again, or give each process its --shard",
            started_processes());
    /* MPI's own parts look for its symbols in the whole process */
    spread->library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!spread->library)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "mpirun has started %d processes, but MPI cannot be loaded: %s", started_processes(),
                         dlerror());
    spread->transport = dlsym(spread->library, VIPO_TRANSPORT_SYMBOL);
    if (spread->transport && spread->transport->version == VIPO_TRANSPORT_VERSION) return VIPO_OK;
    return vipo_fail(error, VIPO_UNSUPPORTED, "libvipo_mpi.so is of another version of vipo");
}

vipo_status vipo_spread_start(vipo_spread *out, vipo_error *error)
{
    *out = (vipo_spread){.processes = 1, .on_this_host = 1};
    const int started = started_processes();
    if (started < 2) return VIPO_OK;
    vipo_status status = open_transport(out, error);
    if (status == VIPO_OK) {
        const int code = out->transport->start(&out->process, &out->processes, &out->on_this_host);
        if (code) status = mpi_fail(out, "start", code, error);
    }
    if (status != VIPO_OK) {
        out->transport = NULL;
        return status;
    }
    out->present = out->processes - 1;
    if (out->processes == started) return VIPO_OK;
    vipo_fail(error, VIPO_UNSUPPORTED,
              "mpirun has started %d processes, but OpenMPI knows of %d: is it another MPI's?", started,
              out->processes);
    vipo_spread_finish(out);
    return VIPO_UNSUPPORTED;
}

void vipo_spread_finish(vipo_spread *spread)
{
    if (spread->transport) spread->transport->finish();
    spread->transport = NULL; /* the library stays: MPI does not like to be unloaded */
}

/* ---- messages -------------------------------------------------------------------------------------------- */

static vipo_status post(const vipo_spread *spread, int to, vipo_message *message, vipo_error *error)
{
    const bool whole = message->kind == VIPO_MESSAGE_RESULT || message->kind == VIPO_MESSAGE_LEAVE;
    message->from = spread->process;
    const int code =
        spread->transport->send(to, message, whole ? sizeof *message : offsetof(vipo_message, outcome));
    return code ? mpi_fail(spread, "send", code, error) : VIPO_OK;
}

vipo_status vipo_spread_receive(vipo_spread *spread, vipo_message *out, bool *found, vipo_error *error)
{
    int from;
    *found = false;
    if (!spread->transport) return VIPO_OK;
    const int code = spread->transport->receive(&from, out, sizeof *out, found);
    if (code) return mpi_fail(spread, "receive", code, error);
    if (*found) {
        out->from = from;
        spread->present -= out->kind == VIPO_MESSAGE_LEAVE;
    }
    return VIPO_OK;
}

vipo_status vipo_spread_answer(vipo_spread *spread, int to, bool job, int number, vipo_error *error)
{
    vipo_message message = {.kind = job ? VIPO_MESSAGE_JOB : VIPO_MESSAGE_ENOUGH, .number = number};
    return post(spread, to, &message, error);
}

void vipo_spread_halt(vipo_spread *spread)
{
    vipo_message message = {.kind = VIPO_MESSAGE_HALT};
    for (int i = 1; spread->transport && i < spread->processes; i++) post(spread, i, &message, NULL);
}

void vipo_spread_dismiss(vipo_spread *spread)
{
    vipo_message message;
    bool found;
    while (spread->transport && spread->present > 0) {
        if (vipo_spread_receive(spread, &message, &found, NULL) != VIPO_OK) return;
        if (!found)
            nap();
        else if (message.kind == VIPO_MESSAGE_ASK)
            vipo_spread_answer(spread, message.from, false, 0, NULL);
    }
}

/* ---- a process that serves ------------------------------------------------------------------------------- */

typedef struct service {
    vipo_spread *spread;
    vipo_evaluation *e;
    vipo_crew *crew;
    int asked, at_work; /* answers that are to come; jobs under way */
    bool enough, halted;
} service;

static vipo_status start_crew(service *s, vipo_error *error)
{
    if (s->crew) return VIPO_OK;
    VIPO_TRY(vipo_evaluation_open_model(s->e, error));
    return vipo_crew_open(&s->crew, s->e, error);
}

static vipo_status take_message(service *s, bool *found, vipo_error *error)
{
    vipo_message message;
    VIPO_TRY(vipo_spread_receive(s->spread, &message, found, error));
    if (!*found) return VIPO_OK;
    switch (message.kind) {
    case VIPO_MESSAGE_JOB:
        s->asked--;
        VIPO_TRY(start_crew(s, error));
        vipo_crew_push(s->crew, message.number);
        s->at_work++;
        break;
    case VIPO_MESSAGE_ENOUGH:
        s->asked--;
        s->enough = true;
        break;
    case VIPO_MESSAGE_HALT:
        s->enough = s->halted = true;
        if (s->crew) vipo_crew_stop(s->crew);
        break;
    default:
        return vipo_fail(error, VIPO_INTERNAL, "MPI: an unexpected message");
    }
    return VIPO_OK;
}

static vipo_status tell_outcomes(service *s, vipo_error *error)
{
    vipo_message message = {.kind = VIPO_MESSAGE_RESULT};
    while (s->crew && vipo_crew_pop(s->crew, 0, &message.outcome)) {
        s->at_work--;
        if (message.outcome.status == VIPO_CANCELLED && s->halted) continue;
        if (message.outcome.status != VIPO_OK) {
            if (error) *error = message.outcome.error;
            return message.outcome.status;
        }
        VIPO_TRY(post(s->spread, 0, &message, error));
    }
    return VIPO_OK;
}

static vipo_status serve(service *s, vipo_error *error)
{
    const int workers = s->e->workers;
    while (!s->enough || s->at_work > 0 || s->asked > 0) {
        bool found;
        while (!s->enough && s->asked + s->at_work < workers) {
            vipo_message ask = {.kind = VIPO_MESSAGE_ASK};
            VIPO_TRY(post(s->spread, 0, &ask, error));
            s->asked++;
        }
        VIPO_TRY(take_message(s, &found, error));
        VIPO_TRY(tell_outcomes(s, error));
        VIPO_TRY(vipo_check_cancelled(&s->e->options.callbacks, error));
        if (!found) nap();
    }
    return VIPO_OK;
}

vipo_status vipo_spread_serve(vipo_spread *spread, vipo_evaluation *e, vipo_status ready, vipo_error *error)
{
    vipo_error own = {0};
    if (!error) error = &own;
    service s = {.spread = spread, .e = e};
    vipo_status status = ready == VIPO_OK ? serve(&s, error) : ready;
    vipo_crew_close(&s.crew);
    vipo_message leave = {.kind = VIPO_MESSAGE_LEAVE};
    leave.outcome.status = status;
    if (status != VIPO_OK) leave.outcome.error = *error;
    post(spread, 0, &leave, NULL);
    return status;
}
