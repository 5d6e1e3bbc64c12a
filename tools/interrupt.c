#include "interrupt.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t received, repeated;
static uintptr_t page_bytes;

/* The first signal asks the running call to stop. Its answer takes less than a second and cleans up, so a second one,
 * which an impatient user or a dying terminal sends at once, changes nothing; the third ends the process. */
static void on_signal(int number)
{
    if (received) {
        if (++repeated < 2) return;
        signal(number, SIG_DFL);
        raise(number);
    }
    received = number;
}

/* A mapped file was cut short under a reader: what is missing reads as zeros from now on, and the call is asked to
 * stop. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    void *const page = (void *)((uintptr_t)info->si_addr & ~(page_bytes - 1));
    const bool mapped =
        info->si_code == BUS_ADRERR &&
        mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
    if (!mapped) {
        signal(number, SIG_DFL);
        raise(number);
    }
    received = number;
}

/* Without SA_RESTART: a write that waits for the reader of a pipe ends, too. */
static void catch_signal(int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) return;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void interrupt_install(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int interrupt_signal(void)
{
    return received;
}
