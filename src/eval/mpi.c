/* libvipo_mpi.so: vipo_transport by MPI. */
#include <mpi.h>
#include <stdio.h>

#include "eval/transport.h"

enum { TAG = 1 };

static int start(int *process, int *processes, int *on_this_host)
{
    int provided, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm host;
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(MPI_COMM_WORLD, process);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(MPI_COMM_WORLD, processes);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(host, on_this_host);
    if (code == MPI_SUCCESS) code = MPI_Comm_free(&host);
    return code;
}

static int send(int to, const void *bytes, size_t size)
{
    return MPI_Send(bytes, (int)size, MPI_BYTE, to, TAG, MPI_COMM_WORLD);
}

static int receive(int *from, void *bytes, size_t capacity, bool *found)
{
    int waiting = 0;
    MPI_Status status;
    *found = false;
    const int code = MPI_Iprobe(MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &waiting, &status);
    if (code != MPI_SUCCESS || !waiting) return code;
    *from = status.MPI_SOURCE;
    *found = true;
    return MPI_Recv(bytes, (int)capacity, MPI_BYTE, status.MPI_SOURCE, TAG, MPI_COMM_WORLD,
                    MPI_STATUS_IGNORE);
}

static int finish(void)
{
    return MPI_Finalize();
}

static void abort_all(void)
{
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void text(int code, char *out, size_t size)
{
    char message[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, message, &length);
    snprintf(out, size, "%s", message);
}

extern const vipo_transport vipo_transport_mpi;
__attribute__((visibility("default"))) const vipo_transport vipo_transport_mpi = {
    .version = VIPO_TRANSPORT_VERSION,
    .start = start,
    .send = send,
    .receive = receive,
    .finish = finish,
    .abort = abort_all,
    .text = text,
};
