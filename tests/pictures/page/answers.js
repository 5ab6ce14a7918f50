// Asks all queries of a panel, with the steps and windows that Grafana would choose.
import { rangeUtil } from '@grafana/data';
import { configured, transformed } from './fields.js';
import { instant, range, table } from './prometheus.js';
import { RANGE_SECONDS, SETTINGS, TIME_RANGE } from './settings.js';
import { fill } from './variables.js';

/** Returns a panel's frames, what went wrong, and which queries found nothing. */
export async function answers(panel, widthPixels) {
  const found = await Promise.all(
    panel.targets.map((target) =>
      asked(target, panel, widthPixels).catch((error) => ({
        frames: [],
        error: `${target.refId}: ${error.message}`,
      })),
    ),
  );
  const raw = found.flatMap((one) => one.frames);
  const frames = raw.length ? await transformed(raw, panel.transformations ?? []) : [];
  return {
    frames: configured(frames, panel.fieldConfig),
    errors: found.map((one) => one.error).filter(Boolean),
    empty: found.filter((one) => !one.error && !one.frames.length).map((one) => one.query),
  };
}

async function asked(target, panel, widthPixels) {
  const stepSeconds = step(target.interval, widthPixels);
  const query = fill(target.expr, windows(stepSeconds));
  if (!target.instant) return { query, frames: await range(target, query, stepSeconds) };
  if (target.format !== 'table') return { query, frames: await instant(target, query) };
  const valueName = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
  return { query, frames: await table(target, query, valueName) };
}

/** Returns the distance of points: one a pixel, rounded up, never below a scrape. */
function step(least, widthPixels) {
  const floor = least || `${SETTINGS.scrapeSeconds}s`;
  return rangeUtil.calculateInterval(TIME_RANGE, Math.round(widthPixels), floor).intervalMs / 1e3;
}

function windows(stepSeconds) {
  const { scrapeSeconds } = SETTINGS;
  return {
    __interval: `${stepSeconds}s`,
    __range: `${RANGE_SECONDS}s`,
    __rate_interval: `${Math.max(stepSeconds + scrapeSeconds, 4 * scrapeSeconds)}s`,
  };
}
