"""The questions put to a history file; each is bounded by a run, a span of time or a count."""

NODE = (
    "SELECT name, instance, begun_ms, price_per_kilowatt_hour, currency,"
    " carbon_grams_per_kilowatt_hour, zone, pue_ratio FROM node"
)

BEAT = "SELECT max(min(end_ms, :at)) FROM uptime WHERE start_ms <= :at"

RUN_NAMES = "SELECT DISTINCT name FROM run WHERE name > ? AND birth_ms <= ? ORDER BY name LIMIT ?"

RUN = (
    "SELECT job, user, team, framework, planned_steps, energy_budget_joules, last_push_ms,"
    " birth_ms FROM run WHERE name = ? AND birth_ms <= ? ORDER BY birth_ms"
)

MODELS = (
    "SELECT DISTINCT model FROM run JOIN claim USING (run_id) JOIN device USING (device_id)"
    " WHERE name = ? ORDER BY model"
)

SPELLS = (
    "SELECT start_ms, end_ms, is_over FROM run JOIN spell USING (run_id)"
    " WHERE name = ? AND start_ms <= ? ORDER BY start_ms"
)

LAST_HELD = (
    "SELECT max(min(end_ms, :at)) FROM run JOIN claim USING (run_id)"
    " WHERE name = :run AND start_ms <= :at"
)

HELD = (
    "SELECT DISTINCT device_id, gpu_uuid, model, default_watts, min_watts, max_watts"
    " FROM run JOIN claim USING (run_id) JOIN device USING (device_id)"
    " WHERE name = :run AND start_ms <= :at AND end_ms >= :at ORDER BY gpu_uuid"
)

SHARED = (
    "SELECT DISTINCT other.name FROM run JOIN claim USING (run_id)"
    " JOIN claim AS theirs ON theirs.device_id = claim.device_id"
    " JOIN run AS other ON other.run_id = theirs.run_id"
    " WHERE run.name = :run AND other.name <> :run"
    " AND claim.start_ms <= :held AND claim.end_ms >= :held"
    " AND theirs.start_ms <= :at AND theirs.end_ms >= :at ORDER BY other.name"
)

LIMITS = (
    "SELECT start_ms, end_ms, enforced_watts, target_watts FROM limit_span"
    " WHERE device_id = :device AND start_ms <= :end AND end_ms >= :start"
    " ORDER BY start_ms DESC LIMIT :most"
)

FIRST_ROW = (
    "SELECT min(first_ms) FROM (SELECT (SELECT min(start_ms) FROM interval"
    " WHERE interval.cell_id = cell.cell_id) AS first_ms"
    " FROM run JOIN cell USING (run_id) WHERE name = ?)"
)

ROWS = (
    "SELECT interval.end_ms / :window * :window AS window_ms, min(start_ms), max(end_ms),"
    " phase, power_limit, sum(interval.steps), sum(interval.duration_ns),"
    " sum(interval.energy_uj), sum(interval.samples), sum(interval.tokens),"
    " sum(slowed_ms), sum(watched_ms)"
    " FROM run JOIN cell USING (run_id) JOIN interval USING (cell_id)"
    " WHERE name = :run AND interval.start_ms <= :end AND interval.end_ms BETWEEN :start AND :end"
    " GROUP BY window_ms, phase, power_limit ORDER BY window_ms, min(start_ms) LIMIT :most"
)

TOTALS = (
    "SELECT phase, power_limit, sum(cell.steps - ifnull(later.steps, 0)),"
    " sum(cell.duration_ns - ifnull(later.duration_ns, 0)),"
    " sum(cell.energy_uj - ifnull(later.energy_uj, 0)),"
    " sum(cell.samples - ifnull(later.samples, 0)), sum(cell.tokens - ifnull(later.tokens, 0))"
    " FROM run JOIN cell USING (run_id) LEFT JOIN ("
    "  SELECT cell_id, sum(steps) AS steps, sum(duration_ns) AS duration_ns,"
    "  sum(energy_uj) AS energy_uj, sum(samples) AS samples, sum(tokens) AS tokens"
    "  FROM interval WHERE end_ms > :end"
    "  AND cell_id IN (SELECT cell_id FROM run JOIN cell USING (run_id) WHERE name = :run)"
    "  GROUP BY cell_id"
    " ) AS later USING (cell_id) WHERE name = :run GROUP BY phase, power_limit"
)
