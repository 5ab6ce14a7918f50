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
 * The library is built for one driver version (-DDRIVER_VERSION); a state of another one answers
 * VERSION_MISMATCH to every call. A GPU that is hidden is not counted, those behind it move up
 * by one index, and its handles answer GPU_IS_LOST.
 *
 * The plan is read anew at every call. One fault a line, all matching lines count:
 *
 *   <function|*> <gpu|*> <fault>     # to the end of the line is a comment
 *
 *   ret N     return N instead of doing it, as in nvml.h: 3 not supported, 4 no permission,
 *             9 driver not loaded, 10 timeout, 15 GPU is lost, 18 version mismatch, 999 unknown
 *   stale N   return N if the driver was loaded anew since this process called nvmlInit
 *   val N     succeed with N, in the call's own unit, instead of the first number that it
 *             would give; a call that sets sets N
 *   add N     add N, which may be negative, to that number
 *   field N   nvmlDeviceGetFieldValues only: succeed, each field with return code N
 *   ignore    calls that set only: succeed and change nothing
 *   us N      take N microseconds longer
 *   hang      do not return as long as the plan says so (looked up every 2 ms)
 *
 *   nvmlDeviceGetTotalEnergyConsumption 4 hang
 *   nvmlDeviceSetPowerManagementLimit   * ret 4    # no root
 *   *                                   1 ret 15   # GPU 1 fell off the bus
 *
 * The function is the exported symbol, the GPU a slot: the index that it has while none is
 * hidden. Calls without a device match only lines with gpu *; "* * ..." hits those too, so name
 * the function where opening is to succeed.
 */
#include "standin_driver.h"

#include <stdio.h>
#include <string.h>

enum { FI_POWER_INSTANT = 186, VALUE_UNSIGNED_INT = 1 };

struct nvmlDevice { int unused; };
typedef struct nvmlDevice *device_t;

typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version, sensor; int celsius; } temperature_t;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_part, part; } process_t;
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

/* Of each GPU first its own handle, then those of its MIG instances. */
static struct nvmlDevice handles[MAX_GPUS * (1 + MIG_MOST)];

static int handle_number(device_t device) {
    int ours = device >= handles && device < handles + sizeof handles / sizeof *handles;
    return ours ? (int)(device - handles) : MAX_GPUS * (1 + MIG_MOST);
}
static int slot_of(device_t device) { return handle_number(device) / (1 + MIG_MOST); }
static int instance_of(device_t device) { return handle_number(device) % (1 + MIG_MOST); }
static device_t handle_of(int slot, int instance) {
    return &handles[slot * (1 + MIG_MOST) + instance];
}

static int slot_at(unsigned index) {
    int found = MAX_GPUS;
    if (enter() == OK)
        for (int slot = 0; slot < (int)state->gpu_count; slot++)
            if (!state->gpus[slot].hidden && index-- == 0) { found = slot; break; }
    leave();
    return found;
}

static unsigned visible(void) {
    unsigned count = 0;
    for (unsigned slot = 0; slot < state->gpu_count; slot++) count += !state->gpus[slot].hidden;
    return count;
}

static unsigned throttle_mask(const gpu_t *gpu) {
    return gpu->demand_mw > enforced_mw(gpu) ? POWER_CAP : 0;
}

static int session_error(const fault_t *fault) {
    if (!references) return UNINITIALIZED;
    return session_loaded_ns != state->loaded_ns ? fault->stale : OK;
}

static int slot_error(int slot) {
    if (slot < 0) return OK;
    if (slot >= (int)state->gpu_count) return INVALID_ARGUMENT;
    return state->gpus[slot].hidden ? GPU_IS_LOST : OK;
}

static int copy_text(char *to, unsigned length, const char *text) {
    return snprintf(to, length, "%s", text) < (int)length ? OK : INSUFFICIENT_SIZE;
}

#define EXPORT __attribute__((visibility("default"))) int

/* What every call does around its BODY: faults, state, lock, log. BODY sees `fault` and `gpu`,
 * may set `ret`, and calls VALUE(x) for its first number, which the plan may replace. */
#define VALUE(x) planned_number(&fault, (uint64_t)(x))
#define CALL(slot, needs_init, BODY)                                                         \
    int slot_ = (slot);                                                                      \
    fault_t fault = suffer(__func__, slot_);                                                 \
    int ret = fault.ret ? fault.ret : enter();                                               \
    if (!fault.ret) {                                                                        \
        if (ret == OK && (needs_init)) ret = session_error(&fault);                          \
        if (ret == OK) ret = slot_error(slot_);                                              \
        gpu_t *gpu = ret == OK && slot_ >= 0 ? &state->gpus[slot_] : NULL;                   \
        (void)gpu;                                                                           \
        if (ret == OK) { BODY }                                                              \
        leave();                                                                             \
    }                                                                                        \
    return logged(__func__, slot_, ret);

EXPORT nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    CALL(-1, 0, references++; session_loaded_ns = state->loaded_ns;)
}
EXPORT nvmlShutdown(void) {
    CALL(-1, 0, if (references) references--; else ret = UNINITIALIZED;)
}
EXPORT nvmlDeviceGetCount_v2(unsigned *count) { CALL(-1, 1, *count = (unsigned)VALUE(visible());) }
EXPORT nvmlSystemGetDriverVersion(char *version, unsigned length) {
    CALL(-1, 1, ret = copy_text(version, length, state->version);)
}
EXPORT nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
    CALL(slot_at(index), 1, *device = handle_of(slot_, 0);)
}
EXPORT nvmlDeviceGetUUID(device_t device, char *uuid, unsigned length) {
    char text[64];
    CALL(slot_of(device), 1, int instance = instance_of(device);
         const char *kind = instance ? "MIG" : "GPU";
         snprintf(text, sizeof text, "%s-5a4d1000-0000-4000-8%03d-%012d", kind, instance, slot_);
         ret = copy_text(uuid, length, text);)
}
EXPORT nvmlDeviceGetName(device_t device, char *name, unsigned length) {
    CALL(slot_of(device), 1, ret = copy_text(name, length, "NVIDIA Stand-in 350W");)
}
EXPORT nvmlDeviceGetPciInfo_v3(device_t device, pci_t *pci) {
    CALL(slot_of(device), 1, memset(pci, 0, sizeof *pci); pci->bus = (unsigned)slot_ + 1;
         snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
         snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "0000:%02X:00.0", pci->bus);)
}

#define NUMBER(NAME, TYPE, EXPRESSION)                                                       \
    EXPORT NAME(device_t device, TYPE *number) {                                             \
        CALL(slot_of(device), 1, *number = (TYPE)VALUE(EXPRESSION);)                        \
    }
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, energy_uj(gpu) / 1000)
NUMBER(nvmlDeviceGetPowerUsage, unsigned, power_mw(gpu))
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, gpu->limit_mw)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, enforced_mw(gpu))
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, gpu->default_mw)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, gpu->persistence)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, gpu->mig_instances ? MIG_MOST : 0)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, throttle_mask(gpu))
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, throttle_mask(gpu))

EXPORT nvmlDeviceGetFieldValues(device_t device, int count, field_t *fields) {
    CALL(slot_of(device), 1, for (int i = 0; i < count; i++) {
        field_t *field = &fields[i];
        field->result = field->field_id == FI_POWER_INSTANT ? (unsigned)fault.field : NOT_SUPPORTED;
        field->value_type = VALUE_UNSIGNED_INT;
        field->timestamp = (int64_t)(now_ns() / 1000);
        field->value.ull = VALUE(power_mw(gpu));
    })
}
EXPORT nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *min_mw,
                                                    unsigned *max_mw) {
    CALL(slot_of(device), 1, *min_mw = (unsigned)VALUE(gpu->min_mw);
         *max_mw = (unsigned)gpu->max_mw;)
}
EXPORT nvmlDeviceSetPowerManagementLimit(device_t device, unsigned mw) {
    CALL(slot_of(device), 1, if (mw < gpu->min_mw || mw > gpu->max_mw) ret = INVALID_ARGUMENT;
         else if (!fault.ignore) set_limit(gpu, VALUE(mw));)
}
EXPORT nvmlDeviceGetUtilizationRates(device_t device, utilization_t *percent) {
    CALL(slot_of(device), 1, if (gpu->mig_instances) ret = NOT_SUPPORTED;
         percent->gpu = (unsigned)VALUE(75); percent->memory = 40;)
}
EXPORT nvmlDeviceGetMigMode(device_t device, unsigned *now, unsigned *pending) {
    CALL(slot_of(device), 1, *now = *pending = (unsigned)VALUE(gpu->mig_instances > 0);)
}
EXPORT nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned number, device_t *instance) {
    CALL(slot_of(device), 1, if (number >= gpu->mig_instances) ret = NOT_FOUND;
         else *instance = handle_of(slot_, 1 + (int)number);)
}
EXPORT nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count,
                                               process_t *processes) {
    CALL(slot_of(device), 1, unsigned room = *count; *count = gpu->pid > 0;
         if (*count > room) ret = INSUFFICIENT_SIZE;
         else if (*count) processes->pid = (unsigned)VALUE(gpu->pid);)
}
EXPORT nvmlDeviceGetTemperatureV(device_t device, temperature_t *temperature) {
    CALL(slot_of(device), 1, temperature->celsius = (int)VALUE(51);)
}
EXPORT nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *celsius) {
    (void)sensor;
    CALL(slot_of(device), 1, *celsius = (unsigned)VALUE(51);)
}
EXPORT nvmlDeviceGetClockInfo(device_t device, int kind, unsigned *mhz) {
    (void)kind;
    CALL(slot_of(device), 1, *mhz = (unsigned)VALUE(1410);)
}
EXPORT nvmlDeviceGetMemoryInfo(device_t device, memory_t *bytes) {
    CALL(slot_of(device), 1, bytes->total = 40ull << 30; bytes->used = VALUE(6ull << 30);
         bytes->free = bytes->total - bytes->used;)
}
__attribute__((visibility("default"))) const char *nvmlErrorString(int result) {
    (void)result;
    return "an error of the NVML stand-in";
}
