/* A stand-in for libnvidia-ml.so.1: NVML's names, units and error codes, and no GPU.
 *
 * The real nvidia-ml-py loads it through LD_LIBRARY_PATH, in any process. Environment:
 *
 *   FAKE_NVML_STATE  (required) path of the driver's state; without it: DRIVER_NOT_LOADED
 *   FAKE_NVML_GPUS   number of GPUs when the state is created, 1 to 16, default 2
 *   FAKE_NVML_PLAN   path of the fault plan; no file, no faults
 *   FAKE_NVML_CALLS  path of a log; every call appends "<pid> <function> <gpu|-> <return code>"
 *                    after it is done, in one write(2)
 *
 * Driver state is one file, mapped by every process: it survives SIGKILL, as a power limit does
 * in a real driver. A "driver reload" is the file's removal: the next call makes a new one, with
 * energy from zero and the default limits. A GPU draws min(demand, limit, out-of-band cap), and
 * its energy runs on with CLOCK_MONOTONIC, whether or not anybody calls.
 *
 * The plan is read anew at every call. One fault a line, all matching lines count:
 *
 *   <function|*> <gpu|*> <fault>     # to the end of the line is a comment
 *
 *   ret N     return N instead of doing it, as in nvml.h: 3 not supported, 4 no permission,
 *             9 driver not loaded, 10 timeout, 15 GPU is lost, 18 version mismatch, 999 unknown
 *   val N     succeed with N, in the call's own unit, instead of the first number that it
 *             would give; a call that sets sets N
 *   field N   nvmlDeviceGetFieldValues only: succeed, each field with return code N
 *   ignore    calls that set only: succeed and change nothing
 *   us N      take N microseconds longer
 *   hang      do not return as long as the plan says so (looked up every 2 ms)
 *
 *   nvmlDeviceGetTotalEnergyConsumption 4 hang
 *   nvmlDeviceSetPowerManagementLimit   * ret 4    # no root
 *   *                                   1 ret 15   # GPU 1 fell off the bus
 *
 * The function is the exported symbol. Calls without a device match only lines with gpu *;
 * "* * ..." hits those too, so name the function where opening is to succeed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3,
       INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };
enum { MAX_GPUS = 16, FI_POWER_INSTANT = 186, VALUE_UNSIGNED_INT = 1, POWER_CAP = 0x4 };

/* Mirrored by standin.py. All numbers are 64 bits wide: no padding. */
typedef struct {
    uint64_t limit_mw, default_mw, min_mw, max_mw, cap_mw; /* cap_mw: out-of-band, as a BMC's */
    uint64_t demand_mw;                                    /* what it would draw unlimited */
    uint64_t energy_uj, since_ns;                          /* energy as of that moment */
} gpu_t;

typedef struct {
    char magic[8];
    uint64_t gpu_count;
    gpu_t gpus[MAX_GPUS];
} state_t;

struct nvmlDevice { int index; };
typedef struct nvmlDevice *device_t;

typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version, sensor; int celsius; } temperature_t;
typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_t;
typedef struct {
    uint32_t field_id, scope_id;
    int64_t timestamp, latency_us;
    unsigned value_type, result;
    union { double d; unsigned ui; unsigned long long ull; } value;
} field_t;

typedef struct {
    int ret, field, ignore, hang, has_val;
    uint64_t val, us;
} fault_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int references;
static struct nvmlDevice handles[MAX_GPUS];
static state_t *state;
static int state_fd = -1;
static ino_t state_inode;

static void add_fault(fault_t *fault, const char *kind, uint64_t number) {
    if (!strcmp(kind, "ret")) fault->ret = (int)number;
    else if (!strcmp(kind, "field")) fault->field = (int)number;
    else if (!strcmp(kind, "ignore")) fault->ignore = 1;
    else if (!strcmp(kind, "hang")) fault->hang = 1;
    else if (!strcmp(kind, "us")) fault->us += number;
    else if (!strcmp(kind, "val")) { fault->has_val = 1; fault->val = number; }
    else fprintf(stderr, "nvml stand-in: no such fault: %s\n", kind), abort();
}

static fault_t planned(const char *function, int gpu) {
    fault_t fault = {0};
    const char *path = getenv("FAKE_NVML_PLAN");
    FILE *plan = path ? fopen(path, "re") : NULL;
    if (!plan) return fault;
    char line[256], name[128], which[16], kind[16];
    while (fgets(line, sizeof line, plan)) {
        line[strcspn(line, "#")] = 0;
        unsigned long long number = 0;
        if (sscanf(line, "%127s %15s %15s %llu", name, which, kind, &number) < 3) continue;
        int ours = !strcmp(name, "*") || !strcmp(name, function);
        int here = !strcmp(which, "*") || (gpu >= 0 && atoi(which) == gpu);
        if (ours && here) add_fault(&fault, kind, number);
    }
    fclose(plan);
    return fault;
}

static void nap(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static fault_t suffer(const char *function, int gpu) {
    fault_t fault = planned(function, gpu);
    while (fault.hang) { nap(2000); fault = planned(function, gpu); }
    if (fault.us) nap(fault.us);
    return fault;
}

static int logged(const char *function, int gpu, int ret) {
    const char *path = getenv("FAKE_NVML_CALLS");
    if (!path) return ret;
    char line[192], which[12] = "-";
    if (gpu >= 0) snprintf(which, sizeof which, "%d", gpu);
    int length = snprintf(line, sizeof line, "%d %s %s %d\n", getpid(), function, which, ret);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) { if (write(fd, line, length) != length) abort(); close(fd); }
    return ret;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A fresh state is complete before it gets its name, so that no process sees half of one. */
static void create_state(const char *path) {
    char draft[4096];
    state_t fresh = {.magic = "FAKENVML"};
    const char *gpus = getenv("FAKE_NVML_GPUS");
    fresh.gpu_count = gpus ? strtoul(gpus, NULL, 10) : 2;
    if (fresh.gpu_count < 1 || fresh.gpu_count > MAX_GPUS) abort();
    for (unsigned i = 0; i < MAX_GPUS; i++)
        fresh.gpus[i] = (gpu_t){.limit_mw = 300000, .default_mw = 300000, .min_mw = 100000,
                                .max_mw = 350000, .cap_mw = 350000, .demand_mw = 50000,
                                .energy_uj = 0, .since_ns = now_ns()};
    snprintf(draft, sizeof draft, "%s.%d.%lu", path, getpid(), (unsigned long)pthread_self());
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, &fresh, sizeof fresh) != sizeof fresh) abort();
    close(fd);
    if (link(draft, path)) { /* another process was faster: its state is as good */ }
    unlink(draft);
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
    if (state) { munmap(state, sizeof *state); close(state_fd); }
    state = mapped, state_fd = fd, state_inode = found.st_ino;
    return OK;
}

/* The mutex keeps this process's threads apart, flock the processes; a killed one lets go. */
static int enter(void) {
    pthread_mutex_lock(&mutex);
    int ret = load_driver();
    if (ret == OK) flock(state_fd, LOCK_EX);
    return ret;
}

static void leave(void) {
    if (state_fd >= 0) flock(state_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
}

static uint64_t lower(uint64_t one, uint64_t other) { return one < other ? one : other; }
static uint64_t enforced_mw(const gpu_t *gpu) { return lower(gpu->limit_mw, gpu->cap_mw); }
static uint64_t power_mw(const gpu_t *gpu) { return lower(gpu->demand_mw, enforced_mw(gpu)); }

/* 1 mW x 1 ns = 1e-6 uJ */
static uint64_t energy_uj(const gpu_t *gpu) {
    unsigned __int128 drawn = (unsigned __int128)power_mw(gpu) * (now_ns() - gpu->since_ns);
    return gpu->energy_uj + (uint64_t)(drawn / 1000000);
}

static unsigned throttle_mask(const gpu_t *gpu) {
    return gpu->demand_mw > enforced_mw(gpu) ? POWER_CAP : 0;
}

static void set_limit(gpu_t *gpu, uint64_t limit_mw) {
    gpu->energy_uj = energy_uj(gpu); /* what was drawn until now was drawn under the old limit */
    gpu->since_ns = now_ns();
    gpu->limit_mw = limit_mw;
}

#define EXPORT __attribute__((visibility("default"))) int

/* What every call does around its BODY: faults, state, lock, log. BODY sees `fault` and `gpu`,
 * may set `ret`, and calls VALUE(x) for its first number, which the plan may replace. */
#define VALUE(x) (fault.has_val ? fault.val : (uint64_t)(x))
#define CALL(index, needs_init, BODY)                                                        \
    int index_ = (index);                                                                    \
    fault_t fault = suffer(__func__, index_);                                                \
    int ret = fault.ret ? fault.ret : enter();                                               \
    if (!fault.ret) {                                                                        \
        if (ret == OK && (needs_init) && !references) ret = UNINITIALIZED;                   \
        if (ret == OK && index_ >= (int)state->gpu_count) ret = INVALID_ARGUMENT;            \
        gpu_t *gpu = ret == OK && index_ >= 0 ? &state->gpus[index_] : NULL;                 \
        (void)gpu;                                                                           \
        if (ret == OK) { BODY }                                                              \
        leave();                                                                             \
    }                                                                                        \
    return logged(__func__, index_, ret);

static int index_of(device_t device) {
    return device >= handles && device < handles + MAX_GPUS ? (int)(device - handles) : MAX_GPUS;
}

static int copy_text(char *to, unsigned length, const char *text) {
    return snprintf(to, length, "%s", text) < (int)length ? OK : INSUFFICIENT_SIZE;
}

EXPORT nvmlInitWithFlags(unsigned flags) { (void)flags; CALL(-1, 0, references++;) }
EXPORT nvmlShutdown(void) { CALL(-1, 1, references--;) }
EXPORT nvmlDeviceGetCount_v2(unsigned *count) {
    CALL(-1, 1, *count = (unsigned)VALUE(state->gpu_count);)
}
EXPORT nvmlSystemGetDriverVersion(char *version, unsigned length) {
    CALL(-1, 1, ret = copy_text(version, length, "590.00.00");)
}
EXPORT nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
    CALL(index < MAX_GPUS ? (int)index : MAX_GPUS, 1, *device = &handles[index_];)
}
EXPORT nvmlDeviceGetUUID(device_t device, char *uuid, unsigned length) {
    char text[64];
    CALL(index_of(device), 1,
         snprintf(text, sizeof text, "GPU-5a4d1000-0000-4000-8000-%012d", index_);
         ret = copy_text(uuid, length, text);)
}
EXPORT nvmlDeviceGetName(device_t device, char *name, unsigned length) {
    CALL(index_of(device), 1, ret = copy_text(name, length, "NVIDIA Stand-in 350W");)
}
EXPORT nvmlDeviceGetPciInfo_v3(device_t device, pci_t *pci) {
    CALL(index_of(device), 1, memset(pci, 0, sizeof *pci); pci->bus = (unsigned)index_ + 1;
         snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
         snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "0000:%02X:00.0", pci->bus);)
}

#define NUMBER(NAME, TYPE, EXPRESSION)                                                       \
    EXPORT NAME(device_t device, TYPE *number) {                                             \
        CALL(index_of(device), 1, *number = (TYPE)VALUE(EXPRESSION);)                        \
    }
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, energy_uj(gpu) / 1000)
NUMBER(nvmlDeviceGetPowerUsage, unsigned, power_mw(gpu))
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, gpu->limit_mw)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, enforced_mw(gpu))
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, gpu->default_mw)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, throttle_mask(gpu))
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, throttle_mask(gpu))

EXPORT nvmlDeviceGetFieldValues(device_t device, int count, field_t *fields) {
    CALL(index_of(device), 1, for (int i = 0; i < count; i++) {
        field_t *field = &fields[i];
        field->result = field->field_id == FI_POWER_INSTANT ? (unsigned)fault.field : NOT_SUPPORTED;
        field->value_type = VALUE_UNSIGNED_INT;
        field->timestamp = (int64_t)(now_ns() / 1000);
        field->value.ull = VALUE(power_mw(gpu));
    })
}
EXPORT nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *min_mw,
                                                    unsigned *max_mw) {
    CALL(index_of(device), 1, *min_mw = (unsigned)VALUE(gpu->min_mw);
         *max_mw = (unsigned)gpu->max_mw;)
}
EXPORT nvmlDeviceSetPowerManagementLimit(device_t device, unsigned mw) {
    CALL(index_of(device), 1, if (mw < gpu->min_mw || mw > gpu->max_mw) ret = INVALID_ARGUMENT;
         else if (!fault.ignore) set_limit(gpu, VALUE(mw));)
}
EXPORT nvmlDeviceGetUtilizationRates(device_t device, utilization_t *percent) {
    CALL(index_of(device), 1, percent->gpu = (unsigned)VALUE(75); percent->memory = 40;)
}
EXPORT nvmlDeviceGetTemperatureV(device_t device, temperature_t *temperature) {
    CALL(index_of(device), 1, temperature->celsius = (int)VALUE(51);)
}
EXPORT nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *celsius) {
    (void)sensor;
    CALL(index_of(device), 1, *celsius = (unsigned)VALUE(51);)
}
EXPORT nvmlDeviceGetClockInfo(device_t device, int kind, unsigned *mhz) {
    (void)kind;
    CALL(index_of(device), 1, *mhz = (unsigned)VALUE(1410);)
}
EXPORT nvmlDeviceGetMemoryInfo(device_t device, memory_t *bytes) {
    CALL(index_of(device), 1, bytes->total = 40ull << 30; bytes->used = VALUE(6ull << 30);
         bytes->free = bytes->total - bytes->used;)
}
__attribute__((visibility("default"))) const char *nvmlErrorString(int result) {
    (void)result;
    return "an error of the NVML stand-in";
}
