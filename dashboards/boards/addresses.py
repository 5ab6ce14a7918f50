"""The boards' addresses and choices: what links, variables and people keep."""

from boards.board import Annotation, Variable, drill_down
from boards.promql import ONE_NODE, TARGET

FLEET = "joulestat-fleet"
GPU = "joulestat-gpu"
RUN = "joulestat-run"
OPTIMIZER = "joulestat-optimizer"
BUDGETS = "joulestat-budgets"

_DEVICES = "joulestat_gpu_power_limit_enforced_watts"

JOB = Variable("job", "Job", f"label_values({_DEVICES}, job)", multi=True)
INSTANCES = Variable(
    "instance", "Instance", f'label_values({_DEVICES}{{job=~"$job"}}, instance)', multi=True
)
INSTANCE = Variable("instance", "Instance", f'label_values({_DEVICES}{{job=~"$job"}}, instance)')
GPUS = Variable("gpu", "GPU", f"label_values({_DEVICES}{{{ONE_NODE}}}, gpu)", multi=True)
RUNS = Variable("run", "Run", f"label_values(joulestat_run_steps_total{{{TARGET}}}, run)")

TO_NODE = drill_down("GPUs of ${__value.raw}", GPU, "instance=${__value.raw}")
TO_GPU = drill_down(
    "GPU ${__field.labels.gpu} of ${__field.labels.instance}",
    GPU,
    "instance=${__field.labels.instance}",
    "gpu=${__field.labels.gpu}",
)
TO_RUN = drill_down("Run ${__field.labels.run}", RUN, "run=${__field.labels.run}")
TO_RUN_OF_CELL = drill_down("Run ${__value.raw}", RUN, "run=${__value.raw}")
TO_OPTIMIZER = drill_down("Power-limit optimizer", OPTIMIZER, "run=${run}")

LIMIT_CHANGES = Annotation(
    "Power limit changed",
    f"sum by (instance) (changes({_DEVICES}{{{TARGET}}}[2m])) > 0",
    "Power limit changed on {{instance}}",
    "orange",
    shown=False,
)
LIMIT_CHANGES_OF_NODE = Annotation(
    "Power limit changed",
    f"sum by (instance, gpu) (changes({_DEVICES}{{{ONE_NODE}}}[2m])) > 0",
    "Power limit changed on GPU {{gpu}}",
    "orange",
    shown=False,
)
LIMIT_CHANGES_OF_RUN = Annotation(
    "Power limit changed",
    f"sum by (instance) (changes({_DEVICES}{{{TARGET}}}[2m]) and on (instance, gpu_uuid)"
    f' joulestat_run_gpu{{{TARGET}, run="$run"}}) > 0',
    "Power limit changed on {{instance}}",
    "orange",
)
