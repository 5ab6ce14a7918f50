/* The driver behind the stand-in for libnvidia-ml.so.1: its state, its faults, its lock. */
#ifndef STANDIN_DRIVER_H
#define STANDIN_DRIVER_H

#include <stdint.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, VERSION_MISMATCH = 18 };
enum { MAX_GPUS = 16, MIG_MOST = 7, POWER_CAP = 0x4 };

#ifndef DRIVER_VERSION
#define DRIVER_VERSION "590.00.00"
#endif

/* Mirrored by standin.py. All numbers are 64 bits wide: no padding. */
typedef struct {
    uint64_t limit_mw, default_mw, min_mw, max_mw, cap_mw; /* cap_mw: out-of-band, as a BMC's */
    uint64_t demand_mw;                                    /* what it would draw unlimited */
    uint64_t energy_uj, since_ns;                          /* energy as of that moment */
    uint64_t persistence;                                  /* 1: the driver stays loaded */
    uint64_t mig_instances;                                /* 0: MIG mode is off */
    uint64_t hidden;                                       /* 1: taken off the bus */
    uint64_t pid;                                          /* of who computes on it; 0: nobody */
} gpu_t;

typedef struct {
    char magic[8];
    char version[24];   /* of the kernel's driver */
    uint64_t loaded_ns; /* when it was loaded: tells one driver load from the next */
    uint64_t gpu_count;
    gpu_t gpus[MAX_GPUS]; /* by slot, which faults name; an index counts what is not hidden */
} state_t;

typedef struct {
    int ret, field, ignore, hang, stale, has_val;
    int64_t add;
    uint64_t val, us;
} fault_t;

extern state_t *state;            /* NULL before the first call */
extern int references;            /* nvmlInit minus nvmlShutdown */
extern uint64_t session_loaded_ns; /* the driver load that nvmlInit found */

uint64_t now_ns(void);

/* Waits and hangs as planned, and returns what else is. Slot -1: a call without a GPU. */
fault_t suffer(const char *function, int slot);

/* Every call stands between these two: the driver is there, and nobody else is at it. */
int enter(void);
void leave(void);

int logged(const char *function, int slot, int ret);

/* The first number of an answer, as the plan wants it. */
uint64_t planned_number(const fault_t *fault, uint64_t number);

uint64_t enforced_mw(const gpu_t *gpu);
uint64_t power_mw(const gpu_t *gpu);
uint64_t energy_uj(const gpu_t *gpu);
void set_limit(gpu_t *gpu, uint64_t limit_mw);

#endif
