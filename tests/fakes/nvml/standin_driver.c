/* State, faults and lock of the stand-in; what they are like is said in nvml_standin.c. */
#define _GNU_SOURCE
#include "standin_driver.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

state_t *state;
int references;
uint64_t session_loaded_ns;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int state_fd = -1;
static ino_t state_inode;

static void add_fault(fault_t *fault, const char *kind, long long number) {
    if (!strcmp(kind, "ret")) fault->ret = (int)number;
    else if (!strcmp(kind, "field")) fault->field = (int)number;
    else if (!strcmp(kind, "ignore")) fault->ignore = 1;
    else if (!strcmp(kind, "hang")) fault->hang = 1;
    else if (!strcmp(kind, "stale")) fault->stale = (int)number;
    else if (!strcmp(kind, "us")) fault->us += (uint64_t)number;
    else if (!strcmp(kind, "add")) fault->add += number;
    else if (!strcmp(kind, "val")) { fault->has_val = 1; fault->val = (uint64_t)number; }
    else fprintf(stderr, "nvml stand-in: no such fault: %s\n", kind), abort();
}

static fault_t planned(const char *function, int slot) {
    fault_t fault = {0};
    const char *path = getenv("FAKE_NVML_PLAN");
    FILE *plan = path ? fopen(path, "re") : NULL;
    if (!plan) return fault;
    char line[256], name[128], which[16], kind[16];
    while (fgets(line, sizeof line, plan)) {
        line[strcspn(line, "#")] = 0;
        long long number = 0;
        if (sscanf(line, "%127s %15s %15s %lld", name, which, kind, &number) < 3) continue;
        int ours = !strcmp(name, "*") || !strcmp(name, function);
        int here = !strcmp(which, "*") || (slot >= 0 && atoi(which) == slot);
        if (ours && here) add_fault(&fault, kind, number);
    }
    fclose(plan);
    return fault;
}

static void nap(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

fault_t suffer(const char *function, int slot) {
    fault_t fault = planned(function, slot);
    while (fault.hang) { nap(2000); fault = planned(function, slot); }
    if (fault.us) nap(fault.us);
    return fault;
}

uint64_t planned_number(const fault_t *fault, uint64_t number) {
    return (fault->has_val ? fault->val : number) + (uint64_t)fault->add;
}

int logged(const char *function, int slot, int ret) {
    const char *path = getenv("FAKE_NVML_CALLS");
    if (!path) return ret;
    char line[192], which[12] = "-";
    if (slot >= 0) snprintf(which, sizeof which, "%d", slot);
    int length = snprintf(line, sizeof line, "%d %s %s %d\n", getpid(), function, which, ret);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) { if (write(fd, line, length) != length) abort(); close(fd); }
    return ret;
}

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A fresh state is complete before it gets its name, so that no process sees half of one. */
static void create_state(const char *path) {
    char draft[4096];
    state_t fresh = {.magic = "FAKENVML", .version = DRIVER_VERSION, .loaded_ns = now_ns()};
    const char *gpus = getenv("FAKE_NVML_GPUS");
    fresh.gpu_count = gpus ? strtoul(gpus, NULL, 10) : 2;
    if (fresh.gpu_count < 1 || fresh.gpu_count > MAX_GPUS) abort();
    for (unsigned i = 0; i < MAX_GPUS; i++)
        fresh.gpus[i] = (gpu_t){.limit_mw = 300000, .default_mw = 300000, .min_mw = 100000,
                                .max_mw = 350000, .cap_mw = 350000, .demand_mw = 50000,
                                .since_ns = now_ns(), .persistence = 1};
    snprintf(draft, sizeof draft, "%s.%d.%lu", path, getpid(), (unsigned long)pthread_self());
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, &fresh, sizeof fresh) != sizeof fresh) abort();
    close(fd);
    if (link(draft, path)) { /* another process was faster: its state is as good */ }
    unlink(draft);
}

__attribute__((destructor)) static void let_go(void) {
    if (state) { munmap(state, sizeof *state); close(state_fd); }
    state = NULL, state_fd = -1;
}

/* Maps the state that the path names now: after a "reload" that is another file. */
static int load_driver(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat found;
    if (!path) return DRIVER_NOT_LOADED;
    if (stat(path, &found)) create_state(path);
    else if (state && found.st_ino == state_inode) return OK;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found)) return DRIVER_NOT_LOADED;
    void *mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) { close(fd); return DRIVER_NOT_LOADED; }
    let_go();
    state = mapped, state_fd = fd, state_inode = found.st_ino;
    return OK;
}

/* The mutex keeps this process's threads apart, flock the processes; a killed one lets go. */
int enter(void) {
    pthread_mutex_lock(&mutex);
    int ret = load_driver();
    if (ret == OK) flock(state_fd, LOCK_EX);
    if (ret == OK && strcmp(state->version, DRIVER_VERSION)) ret = VERSION_MISMATCH;
    return ret;
}

void leave(void) {
    if (state_fd >= 0) flock(state_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
}

static uint64_t lower(uint64_t one, uint64_t other) { return one < other ? one : other; }
uint64_t enforced_mw(const gpu_t *gpu) { return lower(gpu->limit_mw, gpu->cap_mw); }
uint64_t power_mw(const gpu_t *gpu) { return lower(gpu->demand_mw, enforced_mw(gpu)); }

/* 1 mW x 1 ns = 1e-6 uJ */
uint64_t energy_uj(const gpu_t *gpu) {
    unsigned __int128 drawn = (unsigned __int128)power_mw(gpu) * (now_ns() - gpu->since_ns);
    return gpu->energy_uj + (uint64_t)(drawn / 1000000);
}

void set_limit(gpu_t *gpu, uint64_t limit_mw) {
    gpu->energy_uj = energy_uj(gpu); /* what was drawn until now was drawn under the old limit */
    gpu->since_ns = now_ns();
    gpu->limit_mw = limit_mw;
}
