// Asks Prometheus, and shapes its answers into Grafana's data frames as Grafana's data source does.
import { FieldType, toDataFrame } from '@grafana/data';
import { FROM_MS, TO_MS } from './settings.js';

/** Asks one path of the API and returns what it found; raises what Prometheus complained of. */
export async function ask(path, parameters) {
  const answer = await fetch(`/prometheus/api/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(parameters),
  });
  const found = await answer.json();
  if (found.status !== 'success') throw new Error(found.error);
  return found.data;
}

/** Returns the values of a label in the time range, of the series that match. */
export async function labelValues(label, matching) {
  const parameters = { start: FROM_MS / 1e3, end: TO_MS / 1e3 };
  if (matching) parameters['match[]'] = matching;
  const path = `/prometheus/api/v1/label/${label}/values?${new URLSearchParams(parameters)}`;
  return (await (await fetch(path)).json()).data;
}

/** Returns one frame for each series at the end of the time range. */
export async function instant(target, query) {
  const series = await vector(query);
  return series.map((one) => frame(target, one.metric, [one.value]));
}

/** Returns one frame with a row for each series at the end of the time range. */
export async function table(target, query, valueName) {
  const series = await vector(query);
  if (!series.length) return [];
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  const text = (label) => series.map((one) => one.metric[label] ?? '');
  return [
    toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: series.map(() => TO_MS) },
        ...labels.map((label) => ({ name: label, type: FieldType.string, values: text(label) })),
        {
          name: valueName,
          type: FieldType.number,
          values: series.map((one) => number(one.value[1])),
        },
      ],
    }),
  ];
}

/** Returns one frame for each series over the time range, with nulls where samples are missing. */
export async function range(target, query, stepSeconds) {
  const aligned = (ms) => Math.floor(ms / 1e3 / stepSeconds) * stepSeconds;
  const [start, end] = [aligned(FROM_MS), aligned(TO_MS)];
  const { result } = await ask('query_range', { query, start, end, step: stepSeconds });
  return result.map(({ metric, values }) => {
    const known = new Map(values);
    const points = [];
    for (let at = start; at <= end; at += stepSeconds) points.push([at, known.get(at) ?? null]);
    return frame(target, metric, points);
  });
}

async function vector(query) {
  const { resultType, result } = await ask('query', { query, time: TO_MS / 1e3 });
  return resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
}

function frame(target, metric, points) {
  const { __name__, ...labels } = metric;
  const times = points.map(([seconds]) => seconds * 1e3);
  const values = points.map(([, value]) => (value === null ? null : number(value)));
  const displayNameFromDS = legend(target.legendFormat, metric);
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: times, config: {} },
      { name: 'Value', type: FieldType.number, labels, values, config: { displayNameFromDS } },
    ],
  });
}

/** Fills labels into a legend's template. */
export function legend(template, labels) {
  if (template === '__auto') return undefined;
  return template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

function number(text) {
  return { NaN: NaN, '+Inf': Infinity, '-Inf': -Infinity }[text] ?? Number(text);
}
